// linear() on a card with plain weights, against sums in double precision.
#include "kernels/linear_cuda.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/graph.h"
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
using kernel_test::largest_difference;
using kernel_test::random_floats;
using kernel_test::same_bits;
using kernel_test::Weight;

constexpr DType kStored[] = {DType::kF32, DType::kBF16, DType::kF16};

class LinearCuda : public CudaTest {};

// As in linear_test.cc: a float32 sum of k products of normal numbers in any order; one lost or
// doubled product is about 1.
double tolerance(std::int64_t k) {
  return 1e-6 + 4e-7 * static_cast<double>(k);
}

// What many rows of x are rounded to: products are exact then, whatever tensor cores do to sums is
// within the tolerance.
ComputeDtype rounding_of(DType dtype, std::int64_t rows) {
  if (rows <= 8 || dtype == DType::kF32) return ComputeDtype::kF32;
  return dtype == DType::kF16 ? ComputeDtype::kF16 : ComputeDtype::kBF16;
}

struct Case {
  DType dtype = DType::kBF16;
  std::int64_t rows = 1;
  std::int64_t outputs = 6;
  std::int64_t k = 64;
  std::size_t weight_offset = 0;
  std::size_t x_offset = 0;
};

std::string describe(const Case& c) {
  std::string text(to_string(c.dtype));
  for (const std::int64_t n : {c.rows, c.outputs, c.k}) text += " " + std::to_string(n);
  return text + " at " + std::to_string(c.weight_offset) + ", " + std::to_string(c.x_offset);
}

void expect_exact(CudaMachine& card, const Case& c) {
  const Weight weight(c.dtype, c.outputs, c.k, 1);
  const auto x = random_floats(c.rows * c.k, 2);
  const auto bias = random_floats(c.outputs, 3);
  const auto y = multiply(card, {.weight = &weight.view(),
                                 .x = x,
                                 .rows = c.rows,
                                 .bias = bias,
                                 .weight_offset = c.weight_offset,
                                 .x_offset = c.x_offset});
  const auto expected = exact_product(rounded(rounding_of(c.dtype, c.rows), x), c.rows,
                                      weight.values(), c.outputs, bias);
  EXPECT_LE(largest_difference(y, expected), tolerance(c.k)) << describe(c);
}

TEST_F(LinearCuda, OneRowOfEveryLength) {
  CudaMachine card;
  for (const DType dtype : kStored) {
    for (std::int64_t k = 0; k <= 70; ++k) expect_exact(card, {.dtype = dtype, .k = k});
    for (const std::int64_t k : {255, 256, 257, 1023, 1024, 1030, 4096, 4104, 14336}) {
      expect_exact(card, {.dtype = dtype, .k = k});
    }
  }
}

TEST_F(LinearCuda, EveryAlignment) {
  CudaMachine card;
  for (const DType dtype : kStored) {
    for (const std::size_t weight_offset : {1, 2, 4, 8, 15}) {
      for (const std::int64_t rows : {1, 3, 20}) {
        expect_exact(card,
                     {.dtype = dtype, .rows = rows, .k = 512, .weight_offset = weight_offset});
      }
    }
    expect_exact(card, {.dtype = dtype, .rows = 2, .k = 512, .x_offset = 1});
    expect_exact(card, {.dtype = dtype, .rows = 20, .k = 512, .x_offset = 3});
  }
}

TEST_F(LinearCuda, EveryNumberOfRows) {
  CudaMachine card;
  for (const DType dtype : kStored) {
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 64, 100, 129}) {
      for (const std::int64_t k : {64, 37}) {
        expect_exact(card, {.dtype = dtype, .rows = rows, .outputs = 48, .k = k});
      }
    }
  }
}

TEST_F(LinearCuda, EveryNumberOfOutputs) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 4, 8, 20}) {
    for (std::int64_t outputs = 0; outputs <= 35; ++outputs) {
      expect_exact(card, {.rows = rows, .outputs = outputs, .k = 72});
    }
    // More than one wave of warps; none share sums.
    expect_exact(card, {.rows = rows, .outputs = 9001, .k = 64});
  }
}

TEST_F(LinearCuda, NoRowsAreNothing) {
  CudaMachine card;
  const Weight weight(DType::kBF16, 5, 8, 1);
  EXPECT_TRUE(multiply(card, {.weight = &weight.view(), .x = {}, .rows = 0}).empty());
}

TEST_F(LinearCuda, AddsToWhatIsThere) {
  CudaMachine card;
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF64}) {
    for (const std::int64_t rows : {1, 8, 30}) {
      const std::int64_t k = 96;
      std::vector<double> doubles(static_cast<std::size_t>(20 * k));
      const auto numbers = random_floats(20 * k, 1);
      std::vector<float> w = numbers;
      std::vector<std::byte> bytes;
      if (dtype == DType::kF64) {
        std::copy(numbers.begin(), numbers.end(), doubles.begin());
        bytes.resize(doubles.size() * 8);
        std::memcpy(bytes.data(), doubles.data(), bytes.size());
      } else {
        bytes.resize(packed_bytes(dtype, 20 * k).value());
        encode_row(dtype, numbers.data(), 20 * k, bytes.data());
        decode_row(dtype, bytes.data(), 20 * k, w.data(), Isa::kRef);
      }
      WeightView weight(TensorView{dtype, {20, k}, bytes.data(), Device{}});
      weight.compute.dtype = ComputeDtype::kBF16;
      const auto x = random_floats(rows * k, 2);
      const auto bias = random_floats(20, 3);
      const auto before = random_floats(rows * 20, 4, 10);
      const auto y =
          multiply(card, {.weight = &weight, .x = x, .rows = rows, .bias = bias, .add_to = before});
      // 64-bit weights are rounded to bfloat16 for many rows.
      if (dtype == DType::kF64 && rows > 8) w = rounded(ComputeDtype::kBF16, w);
      const auto expected =
          exact_product(rounded(rounding_of(dtype, rows), x), rows, w, 20, bias, before);
      EXPECT_LE(largest_difference(y, expected), tolerance(k)) << to_string(dtype) << " " << rows;
    }
  }
}

TEST_F(LinearCuda, ManyWeightsOfOneXAreAsEachAlone) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 3, 40}) {
    const std::int64_t k = 320;
    const auto x = random_floats(rows * k, 2);
    const Weight a(DType::kBF16, 500, k, 1);
    const Weight b(DType::kBF16, 3, k, 2);
    const Weight c(DType::kF32, 70, k, 3);
    const Weight d(DType::kBF16, 4001, k, 4);
    std::vector<CardProduct> products;
    for (const Weight* const weight : {&a, &b, &c, &d}) {
      products.push_back({.weight = &weight->view(), .x = x, .rows = rows});
    }
    const auto together = multiply_many(card, products);
    for (std::size_t i = 0; i < products.size(); ++i) {
      EXPECT_TRUE(same_bits(together[i], multiply(card, products[i]))) << rows << " " << i;
    }
  }
}

TEST_F(LinearCuda, MoreWeightsThanALaunchTakes) {
  CudaMachine card;
  const auto x = random_floats(64, 2);
  std::vector<Weight> weights;
  for (unsigned i = 0; i < 35; ++i) weights.emplace_back(DType::kF16, 5 + i, 64, i);
  std::vector<CardProduct> products;
  for (const Weight& weight : weights) products.push_back({.weight = &weight.view(), .x = x});
  const auto together = multiply_many(card, products);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto expected = exact_product(x, 1, weights[i].values(), 5 + static_cast<int>(i));
    EXPECT_LE(largest_difference(together[i], expected), tolerance(64)) << i;
  }
}

// Sums keep their order: alignment, place and neighbours change no bit.
TEST_F(LinearCuda, AlignmentChangesNoBit) {
  CudaMachine card;
  for (const DType dtype : kStored) {
    for (const std::int64_t rows : {1, 2, 4, 8}) {
      const Weight weight(dtype, 40, 2048, 1);
      const auto x = random_floats(rows * 2048, 2);
      CardProduct product{.weight = &weight.view(), .x = x, .rows = rows};
      const auto aligned = multiply(card, product);
      product.weight_offset = 3;
      product.x_offset = 1;
      EXPECT_TRUE(same_bits(multiply(card, product), aligned)) << to_string(dtype) << " " << rows;
    }
  }
}

// Bytes of finite values of the rarer dtypes.
std::vector<std::byte> finite_bytes(DType dtype, std::int64_t count) {
  std::vector<std::byte> bytes(packed_bytes(dtype, count).value());
  const auto numbers = random_floats(count, 7);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const unsigned pattern = static_cast<unsigned>(i) * 2654435761U >> 13;
    switch (dtype) {
      case DType::kF8E4M3: bytes[i] = static_cast<std::byte>(pattern & 0xBF); break;
      case DType::kF8E5M2: bytes[i] = static_cast<std::byte>(pattern & 0xBF); break;
      case DType::kMXFP4: bytes[i] = static_cast<std::byte>(i % 17 == 0 ? 0x7C : pattern); break;
      // A binary16 scale of 2^-7 before 32 codes.
      case DType::kQ8_0:
        bytes[i] = static_cast<std::byte>(i % 34 == 0 ? 0x00 : i % 34 == 1 ? 0x20 : pattern);
        break;
      default: break;
    }
  }
  if (dtype == DType::kF64) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const double value = numbers[i] * (1 + 1e-9);
      std::memcpy(bytes.data() + 8 * i, &value, 8);
    }
  }
  return bytes;
}

TEST_F(LinearCuda, OtherDtypesAreDecoded) {
  CudaMachine card;
  for (const DType dtype :
       {DType::kF64, DType::kF8E4M3, DType::kF8E5M2, DType::kQ8_0, DType::kMXFP4}) {
    for (const std::int64_t rows : {1, 2, 8, 30}) {
      for (const std::int64_t k : {32, 320, 2080}) {
        for (const std::size_t offset : {0, 1}) {
          const std::int64_t outputs = 70;
          const auto bytes = finite_bytes(dtype, outputs * k);
          WeightView weight(TensorView{dtype, {outputs, k}, bytes.data(), Device{}});
          weight.compute.dtype = k == 320 ? ComputeDtype::kF32 : ComputeDtype::kBF16;
          auto values = values_of(weight);
          auto x = random_floats(rows * k, 2);
          const auto y =
              multiply(card, {.weight = &weight, .x = x, .rows = rows, .weight_offset = offset});
          if (rows > 8) {
            values = rounded(weight.compute.dtype, values);
            x = rounded(weight.compute.dtype, x);
          }
          const auto expected = exact_product(x, rows, values, outputs);
          double largest = 1;
          for (const float value : values) {
            largest = std::max(largest, static_cast<double>(std::fabs(value)));
          }
          EXPECT_LE(largest_difference(y, expected), largest * tolerance(k))
              << to_string(dtype) << " " << rows << " " << k << " " << offset;
        }
      }
    }
  }
}

TEST_F(LinearCuda, TilesOf8BitFloatsHaveTheirScales) {
  CudaMachine card;
  const std::int64_t outputs = 37;
  const std::int64_t k = 100;
  for (const auto& [tile_rows, tile_columns] :
       {std::pair<std::int64_t, std::int64_t>{16, 32}, {128, 128}, {1, 7}}) {
    const WeightForm form{.quant_type = QuantType::kF8Tiles,
                          .dtype = DType::kBF16,
                          .blocksize = tile_columns,
                          .tile_rows = tile_rows};
    const F8Layout layout = f8_layout(form, outputs, k);
    auto bytes = finite_bytes(DType::kF8E4M3, outputs * k);
    bytes.resize(layout.bytes);
    const auto scales = random_floats(layout.row_tiles * layout.column_tiles, 3);
    std::memcpy(bytes.data() + layout.scales, scales.data(), scales.size() * sizeof(float));
    WeightView weight;
    weight.form = form;
    weight.shape = Shape{outputs, k};
    weight.data = bytes.data();
    for (const std::int64_t rows : {1, 3, 20}) {
      const auto x = random_floats(rows * k, 2);
      for (const std::size_t offset : {0, 1}) {
        const auto y =
            multiply(card, {.weight = &weight, .x = x, .rows = rows, .weight_offset = offset});
        const auto values = values_of(weight);
        const auto expected = exact_product(x, rows, values, outputs);
        double largest = 1;
        for (const float value : values) {
          largest = std::max(largest, static_cast<double>(std::fabs(value)));
        }
        EXPECT_LE(largest_difference(y, expected), largest * tolerance(k))
            << tile_rows << " " << tile_columns << " " << rows;
      }
    }
  }
}

// Decoded 128 rows at a time at least: more than one part of a weight, the last one smaller.
TEST_F(LinearCuda, WeightsAreDecodedInParts) {
  CudaMachine card;
  const std::int64_t k = 131072;  // 256 KiB a row in bfloat16: 64 rows are 16 MiB
  const std::int64_t outputs = 300;
  const auto bytes = finite_bytes(DType::kF8E5M2, outputs * k);
  WeightView weight(TensorView{DType::kF8E5M2, {outputs, k}, bytes.data(), Device{}});
  weight.compute.dtype = ComputeDtype::kBF16;
  const auto x = rounded(ComputeDtype::kBF16, random_floats(9 * k, 2, 0.01F));
  const auto y = multiply(card, {.weight = &weight, .x = x, .rows = 9});
  const auto expected = exact_product(x, 9, values_of(weight), outputs);
  EXPECT_LE(largest_difference(y, expected), tolerance(k));
}

TEST_F(LinearCuda, CanBeRecorded) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 16}) {
    const std::int64_t k = 256;
    const Weight weight(DType::kBF16, 64, k, 1);
    const auto x = random_floats(rows * k, 2);
    const auto bytes = card.upload(cuda_test::weight_bytes(weight.view()));
    WeightView view = weight.view();
    view.data = bytes.data();
    const auto on_card = card.upload(x);
    const auto eager = card.make<float>(static_cast<std::size_t>(rows * 64));
    const auto replayed = card.make<float>(static_cast<std::size_t>(rows * 64));
    linear(view, {}, on_card, rows, eager, card.context());
    const cuda::Graph graph(card.queue(),
                            [&] { linear(view, {}, on_card, rows, replayed, card.context()); });
    graph.launch(card.queue());
    EXPECT_TRUE(same_bits(card.download(replayed), card.download(eager))) << rows;
  }
}

TEST_F(LinearCuda, WorkspaceIsEnough) {
  for (const std::int64_t rows : {1, 8, 9, 16, 200}) {
    for (const std::int64_t k : {1, 40, 1031}) {
      const std::int64_t outputs = 130;
      const std::size_t bytes = cuda::linear_workspace_bytes(rows, k, outputs);
      CudaMachine card(bytes);
      for (const DType dtype : kStored) {
        expect_exact(card, {.dtype = dtype,
                            .rows = rows,
                            .outputs = outputs,
                            .k = k,
                            .weight_offset = 1,
                            .x_offset = 1});
      }
    }
  }
}

}  // namespace
}  // namespace shoehorn
