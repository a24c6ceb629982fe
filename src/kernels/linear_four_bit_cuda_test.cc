// linear() on a card with NF4 and FP4 weights, against sums in double precision of the same values.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "kernels/testing_four_bit.h"
#include "kernels/testing_linear_cuda.h"

namespace shoehorn {
namespace {

using cuda_test::CardProduct;
using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using cuda_test::exact_product;
using cuda_test::multiply;
using cuda_test::multiply_many;
using cuda_test::rounded;
using cuda_test::values_of;
using cuda_test::weight_bytes;
using kernel_test::FourBitWeight;
using kernel_test::largest_difference;
using kernel_test::random_floats;
using kernel_test::same_bits;

class LinearFourBitCuda : public CudaTest {};

struct Case {
  QuantType type = QuantType::kNF4;
  std::int64_t blocksize = 64;
  bool nested = false;
  std::int64_t rows = 1;
  std::int64_t outputs = 5;
  std::int64_t k = 128;
  ComputeDtype dtype = ComputeDtype::kF32;
  std::size_t weight_offset = 0;
  std::size_t x_offset = 0;
};

std::string describe(const Case& c) {
  std::string text(to_string(c.type));
  text += (c.nested ? " nested " : " ") + std::string(to_string(c.dtype));
  for (const std::int64_t n : {c.blocksize, c.rows, c.outputs, c.k}) {
    text += " " + std::to_string(n);
  }
  return text + " at " + std::to_string(c.weight_offset) + ", " + std::to_string(c.x_offset);
}

// As in linear_four_bit_test.cc: one lost or doubled product is about 0.1. Many rows are exact
// products of values rounded to 16 bits.
double tolerance(std::int64_t k) {
  return 2e-6 + 2e-7 * static_cast<double>(k);
}

void expect_exact(CudaMachine& card, const Case& c) {
  const WeightForm form{.quant_type = c.type, .blocksize = c.blocksize, .nested = c.nested};
  FourBitWeight weight(form, c.outputs, c.k, 1);
  // With a code book in float16, tensor cores are exact too.
  if (c.dtype == ComputeDtype::kBF16 || c.dtype == ComputeDtype::kF16) weight.round_codes();
  const WeightView view = weight.view(c.dtype);
  auto x = random_floats(c.rows * c.k, 2);
  const auto bias = random_floats(c.outputs, 3);
  const auto y = multiply(card, {.weight = &view,
                                 .x = x,
                                 .rows = c.rows,
                                 .bias = bias,
                                 .weight_offset = c.weight_offset,
                                 .x_offset = c.x_offset});
  auto values = values_of(view);
  const bool on_tiles = c.rows <= 32 && c.dtype != ComputeDtype::kF32 &&
                        c.k % std::min<std::int64_t>(c.blocksize, 128) == 0;
  if (c.rows > 8 && !on_tiles) {
    const ComputeDtype sixteen =
        c.dtype == ComputeDtype::kF16 ? ComputeDtype::kF16 : ComputeDtype::kBF16;
    x = rounded(sixteen, x);
    values = rounded(sixteen, values);
  } else {
    x = rounded(c.dtype, x);
  }
  const auto expected = exact_product(x, c.rows, values, c.outputs, bias);
  EXPECT_LE(largest_difference(y, expected), tolerance(c.k)) << describe(c);
}

TEST_F(LinearFourBitCuda, EveryDepth) {
  CudaMachine card;
  for (const bool nested : {false, true}) {
    for (const std::int64_t k :
         {1, 2, 31, 32, 63, 64, 65, 96, 128, 160, 992, 1024, 1056, 2016, 2048, 2080, 4096, 14336}) {
      for (const std::int64_t rows : {1, 20}) {
        expect_exact(card, {.nested = nested, .rows = rows, .outputs = 9, .k = k});
      }
    }
  }
}

TEST_F(LinearFourBitCuda, EveryBlocksizeAndType) {
  CudaMachine card;
  for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
    for (const bool nested : {false, true}) {
      for (const std::int64_t blocksize : {32, 64, 128, 256, 512, 1024, 2048, 4096}) {
        for (const std::int64_t k : {4096, 320, 300}) {
          for (const std::int64_t rows : {1, 3, 20}) {
            expect_exact(card, {.type = type,
                                .blocksize = blocksize,
                                .nested = nested,
                                .rows = rows,
                                .outputs = 6,
                                .k = k});
          }
        }
      }
    }
  }
}

TEST_F(LinearFourBitCuda, EveryNumberOfRowsAndComputeDtype) {
  CudaMachine card;
  for (const ComputeDtype dtype : {ComputeDtype::kF32, ComputeDtype::kBF16, ComputeDtype::kF16}) {
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 32, 33, 100}) {
      for (const bool nested : {false, true}) {
        expect_exact(card,
                     {.nested = nested, .rows = rows, .outputs = 67, .k = 192, .dtype = dtype});
      }
    }
  }
}

// On tensor cores: blocks shorter than 128 values, as long, and longer; several turns of warps.
TEST_F(LinearFourBitCuda, SixteenBitComputeDtypesOfEveryShape) {
  CudaMachine card;
  for (const ComputeDtype dtype : {ComputeDtype::kBF16, ComputeDtype::kF16}) {
    for (const bool nested : {false, true}) {
      for (const std::int64_t blocksize : {32, 64, 128, 512}) {
        for (const std::int64_t k : {32, 64, 96, 128, 192, 320, 512, 2048, 4224}) {
          expect_exact(card, {.blocksize = blocksize,
                              .nested = nested,
                              .rows = 1,
                              .outputs = 37,
                              .k = k,
                              .dtype = dtype});
        }
        for (const std::int64_t rows : {2, 3, 5, 8}) {
          expect_exact(card, {.blocksize = blocksize,
                              .nested = nested,
                              .rows = rows,
                              .outputs = 600,
                              .k = 640,
                              .dtype = dtype});
        }
      }
    }
  }
  // Rows of x that leave less room for codes on their way, and that do not all fit shared memory;
  // more groups of rows than are put together at once.
  for (const std::int64_t rows : {1, 2, 3, 8}) {
    for (const bool nested : {false, true}) {
      if (!cuda_test::is_chosen(4)) continue;
      expect_exact(card, {.nested = nested,
                          .rows = rows,
                          .outputs = 3000,
                          .k = 14336,
                          .dtype = ComputeDtype::kBF16});
    }
  }
  expect_exact(card, {.rows = 1, .outputs = 40'000, .k = 128, .dtype = ComputeDtype::kBF16});
}

// x beyond the range of float16, and far below it.
TEST_F(LinearFourBitCuda, BFloat16RowsKeepTheirRange) {
  CudaMachine card;
  FourBitWeight weight({.quant_type = QuantType::kNF4}, 33, 256, 1);
  weight.round_codes();
  const WeightView view = weight.view(ComputeDtype::kBF16);
  for (const float scale : {1e-30F, 1e-6F, 1e6F, 1e30F}) {
    const auto x = rounded(ComputeDtype::kBF16, random_floats(2 * 256, 2, scale));
    const auto y = multiply(card, {.weight = &view, .x = x, .rows = 2});
    const auto expected = exact_product(x, 2, values_of(view), 33);
    EXPECT_LE(largest_difference(y, expected), scale * tolerance(256)) << scale;
  }
}

// Rounding the code book moves no sum by more than 2^-11 of its terms.
TEST_F(LinearFourBitCuda, CodesInFloat16AreClose) {
  CudaMachine card;
  const std::int64_t k = 1024;
  for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
    const FourBitWeight weight({.quant_type = type}, 64, k, 1);
    const WeightView view = weight.view(ComputeDtype::kBF16);
    const auto x = rounded(ComputeDtype::kBF16, random_floats(k, 2));
    const auto y = multiply(card, {.weight = &view, .x = x});
    auto values = values_of(view);
    const auto expected = exact_product(x, 1, values, 64);
    auto magnitudes = x;
    for (float& value : magnitudes) value = std::fabs(value);
    for (float& value : values) value = std::fabs(value);
    const auto terms = exact_product(magnitudes, 1, values, 64);
    for (std::size_t i = 0; i < y.size(); ++i) {
      EXPECT_LE(std::fabs(y[i] - expected[i]), 0x1p-11F * terms[i] + 1e-4F) << i;
    }
  }
}

// What the processor computes with activations in int8: the integers are the same, floats are
// summed in another order.
void expect_int8_activations(CudaMachine& card, const Case& c, std::vector<float> x) {
  const FourBitWeight weight({.quant_type = c.type, .blocksize = c.blocksize, .nested = c.nested},
                             c.outputs, c.k, 1);
  WeightView view = weight.view();
  view.compute.dtype = ComputeDtype::kInt8;
  const auto bias = random_floats(c.outputs, 3);
  kernel_test::Machine ref(Isa::kRef);
  std::vector<float> expected(static_cast<std::size_t>(c.rows * c.outputs));
  linear(view, bias, x, c.rows, expected, ref.context());
  const auto y = multiply(card, {.weight = &view, .x = x, .rows = c.rows, .bias = bias});
  EXPECT_LE(largest_difference(y, expected), tolerance(c.k)) << describe(c);
}

TEST_F(LinearFourBitCuda, Int8ActivationsAreThoseOfTheProcessor) {
  CudaMachine card;
  for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
    for (const bool nested : {false, true}) {
      for (const std::int64_t k : {64, 128, 192, 1024, 2112, 4096, 14336}) {
        for (const std::int64_t rows : {1, 2, 3, 4, 5, 8}) {
          expect_int8_activations(
              card, {.type = type, .nested = nested, .rows = rows, .outputs = 9, .k = k},
              random_floats(rows * k, 2));
        }
      }
      for (const std::int64_t outputs : {1, 2, 3, 16, 67, 1030}) {
        expect_int8_activations(
            card, {.type = type, .nested = nested, .rows = 1, .outputs = outputs, .k = 256},
            random_floats(256, 2));
      }
      expect_int8_activations(
          card,
          {.type = type, .blocksize = 256, .nested = nested, .rows = 2, .outputs = 5, .k = 512},
          random_floats(1024, 2));
    }
  }
}

TEST_F(LinearFourBitCuda, Int8ActivationsOfNoNumberMakeTheirRowNone) {
  CudaMachine card;
  for (const float odd : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity(), 1e-37F, 0.0F}) {
    auto x = random_floats(2 * 128, 2);
    for (std::size_t i = 128; i < 192; ++i) x[i] = odd;
    expect_int8_activations(card, {.rows = 2, .outputs = 9, .k = 128}, x);
  }
}

TEST_F(LinearFourBitCuda, EveryNumberOfOutputs) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 4, 8}) {
    for (std::int64_t outputs = 1; outputs <= 20; ++outputs) {
      expect_exact(card, {.rows = rows, .outputs = outputs, .k = 96});
    }
    // More than a turn of all warps; four rows a warp.
    for (const std::int64_t outputs : {4223, 4224, 8449, 17001}) {
      expect_exact(card, {.rows = rows, .outputs = outputs, .k = 64});
    }
  }
}

TEST_F(LinearFourBitCuda, EveryAlignment) {
  CudaMachine card;
  for (const bool nested : {false, true}) {
    for (const std::size_t weight_offset : {1, 4, 8}) {
      for (const std::int64_t rows : {1, 20}) {
        expect_exact(card,
                     {.nested = nested, .rows = rows, .k = 256, .weight_offset = weight_offset});
      }
    }
    expect_exact(card, {.nested = nested, .rows = 1, .k = 256, .x_offset = 1});
  }
}

// More of x than shared memory holds.
TEST_F(LinearFourBitCuda, LongRowsComeInTiles) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 2, 4, 8}) {
    expect_exact(card, {.rows = rows, .outputs = 7, .k = 64 * 1024 + 32});
    expect_exact(card, {.nested = true, .rows = rows, .outputs = 301, .k = 16 * 1024});
  }
}

void expect_gated(CudaMachine& card, const WeightView& gate, const WeightView& up,
                  std::int64_t rows) {
  const std::int64_t outputs = gate.shape[0];
  const auto x = random_floats(rows * gate.shape[1], 3);
  const auto gate_bias = random_floats(outputs, 4);
  const auto up_bias = random_floats(outputs, 5);
  const auto products =
      multiply_many(card, {{.weight = &gate, .x = x, .rows = rows, .bias = gate_bias},
                           {.weight = &up, .x = x, .rows = rows, .bias = up_bias}});
  auto expected = card.make<float>(products[0].size());
  gate_mul(Activation::kGeluTanh, card.upload(products[0]), card.upload(products[1]), expected,
           card.context());

  const auto gate_bytes = card.upload(weight_bytes(gate));
  const auto up_bytes = card.upload(weight_bytes(up));
  WeightView card_gate = gate;
  WeightView card_up = up;
  card_gate.data = gate_bytes.data();
  card_up.data = up_bytes.data();
  const auto card_gate_bias = card.upload(gate_bias);
  const auto card_up_bias = card.upload(up_bias);
  auto y = card.make<float>(products[0].size());
  auto scratch = card.make<float>(products[0].size());
  linear_gated(Activation::kGeluTanh, {&card_gate, card_gate_bias, y},
               {&card_up, card_up_bias, scratch}, card.upload(x), rows, card.context());
  EXPECT_TRUE(same_bits(card.download(y), card.download(expected)))
      << largest_difference(card.download(y), card.download(expected)) << " " << rows << " rows, "
      << outputs << " outputs, " << gate.shape[1] << (gate.form.nested ? ", nested" : "");
}

TEST_F(LinearFourBitCuda, ManyWeightsOfOneXAreAsEachAlone) {
  CudaMachine card;
  const WeightForm form{.quant_type = QuantType::kNF4};
  const WeightForm fp4{.quant_type = QuantType::kFP4};
  for (const std::int64_t rows : {1, 5}) {
    const std::int64_t k = 320;
    const auto x = random_floats(rows * k, 2);
    const FourBitWeight a(form, 5000, k, 1);
    const FourBitWeight b(form, 3, k, 2);
    const FourBitWeight c(fp4, 700, k, 3);  // a table of its own
    const std::vector<WeightView> views = {a.view(), b.view(), c.view()};
    std::vector<CardProduct> products;
    for (const WeightView& view : views)
      products.push_back({.weight = &view, .x = x, .rows = rows});
    const auto together = multiply_many(card, products);
    for (std::size_t i = 0; i < products.size(); ++i) {
      EXPECT_TRUE(same_bits(together[i], multiply(card, products[i]))) << rows << " " << i;
      const auto expected = exact_product(x, rows, values_of(views[i]), views[i].shape[0]);
      EXPECT_LE(largest_difference(together[i], expected), tolerance(k)) << rows << " " << i;
    }
  }
}

// In one launch where the shapes allow it, also with two code books.
TEST_F(LinearFourBitCuda, GatesAreTheirProductsToTheBit) {
  CudaMachine card;
  for (const bool nested : {false, true}) {
    for (const std::int64_t rows : {1, 2, 5, 8, 20, 40}) {
      for (const std::int64_t outputs : {8, 13, 16, 600, 14336}) {
        for (const std::int64_t k : {256, 320, 4096}) {
          if ((rows > 2 && outputs > 1000 && k > 1000) || !cuda_test::is_chosen(23)) continue;
          const WeightForm nf4{.quant_type = QuantType::kNF4, .nested = nested};
          const WeightForm fp4{.quant_type = QuantType::kFP4, .nested = nested};
          const FourBitWeight gate(nf4, outputs, k, 1);
          const FourBitWeight up(rows == 2 ? fp4 : nf4, outputs, k, 2);
          expect_gated(card, gate.view(ComputeDtype::kBF16), up.view(ComputeDtype::kBF16), rows);
        }
      }
    }
  }
}

TEST_F(LinearFourBitCuda, AddsToWhatIsThere) {
  CudaMachine card;
  const WeightForm form{.quant_type = QuantType::kNF4};
  for (const std::int64_t rows : {1, 6}) {
    const FourBitWeight weight(form, 50, 128, 1);
    const WeightView view = weight.view();
    const auto x = random_floats(rows * 128, 2);
    const auto bias = random_floats(50, 3);
    const auto before = random_floats(rows * 50, 4, 10);
    const auto y =
        multiply(card, {.weight = &view, .x = x, .rows = rows, .bias = bias, .add_to = before});
    const auto expected = exact_product(x, rows, values_of(view), 50, bias, before);
    EXPECT_LE(largest_difference(y, expected), tolerance(128)) << rows;
  }
}

}  // namespace
}  // namespace shoehorn
