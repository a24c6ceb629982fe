// Row operations on a card against those of the processor.
#include "kernels/rows_cuda.h"

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "kernels/add.h"
#include "kernels/copy.h"
#include "kernels/cuda_test.h"
#include "kernels/decode_row.h"
#include "kernels/kernel_test.h"
#include "kernels/layer_norm.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/scale.h"
#include "kernels/split_columns.h"

namespace shoehorn {
namespace {

using cuda_test::CardArray;
using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kSmallWorkspace = std::size_t{1} << 20;

class RowsCuda : public CudaTest {};

// Widths around a vector, a warp, a block, and the last that stays in registers (16,384).
const std::vector<std::int64_t> kWidths = {
    1, 2, 3, 4, 5, 31, 32, 33, 64, 127, 128, 257, 1000, 4092, 4096, 4100, 11008, 16384, 16388};

TEST_F(RowsCuda, RmsNormAgreesWithRefAtEveryWidth) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  for (const std::int64_t width : kWidths) {
    for (const std::size_t offset : {0, 1}) {
      for (const float weight_offset : {0.0F, 1.0F}) {
        const auto x = random_floats(3 * width, 1);
        const auto weight = random_floats(width, 2);
        std::vector<float> expected(x.size());
        rms_norm(x, weight, 1e-5F, 3, expected, ref.context(), weight_offset);
        const auto card_x = card.upload(x, offset);
        const auto card_weight = card.upload(weight);
        const auto y = card.make<float>(x.size(), offset);
        rms_norm(card_x, card_weight, 1e-5F, 3, y, card.context(), weight_offset);
        const auto got = card.download(y);
        for (std::size_t i = 0; i < got.size(); ++i) {
          // A few roundings, and a sum of squares in another order; a weight and 1 may cancel.
          ASSERT_NEAR(got[i], expected[i], 2e-6 * std::fabs(expected[i]) + 4e-7 * weight_offset)
              << width << " " << offset;
        }
      }
    }
  }
}

TEST_F(RowsCuda, RmsNormInPlaceGivesTheSameBits) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t width : {77, 128, 4096, 8192, 20000}) {
    const auto x = card.upload(random_floats(4 * width, 1));
    const auto weight = card.upload(random_floats(width, 2));
    const auto y = card.make<float>(x.size());
    rms_norm(x, weight, 1e-5F, 4, y, card.context());
    rms_norm(x, weight, 1e-5F, 4, x, card.context());
    EXPECT_TRUE(same_bits(card.download(x), card.download(y))) << width;
  }
}

TEST_F(RowsCuda, RmsNormOfARowDoesNotDependOnTheOthers) {
  CudaMachine card(kSmallWorkspace);
  const std::int64_t width = 5120;
  const auto x = random_floats(300 * width, 1);
  const auto card_x = card.upload(x);
  const auto weight = card.upload(random_floats(width, 2));
  const auto y = card.make<float>(x.size());
  rms_norm(card_x, weight, 1e-5F, 300, y, card.context());
  const auto alone = card.make<float>(static_cast<std::size_t>(width));
  rms_norm(card_x.span().last(static_cast<std::size_t>(width)), weight, 1e-5F, 1, alone,
           card.context());
  const auto all = card.download(y);
  EXPECT_TRUE(same_bits(std::span<const float>(all).last(static_cast<std::size_t>(width)),
                        card.download(alone)));
}

TEST_F(RowsCuda, RmsNormOfNothingIsNoWork) {
  CudaMachine card(kSmallWorkspace);
  const auto weight = card.make<float>(5);
  EXPECT_NO_THROW(rms_norm({}, weight, 1e-5F, 0, {}, card.context()));
  EXPECT_NO_THROW(rms_norm({}, {}, 1e-5F, 2, {}, card.context()));
  card.queue().synchronize();
}

// Which weights a layer norm has, and how many rows of them.
struct NormWeights {
  std::int64_t weight_rows = 1;
  std::int64_t bias_rows = 1;
};

void expect_layer_norm_like_the_processor(CudaMachine& card, std::int64_t rows, std::int64_t width,
                                          const NormWeights& weights, std::size_t offset) {
  Machine ref(Isa::kRef);
  std::vector<float> x = random_floats(rows * width, 1);
  for (float& value : x) value += 3.0F;  // a mean to take away
  const auto weight = random_floats(weights.weight_rows * width, 2);
  const auto bias = random_floats(weights.bias_rows * width, 3);
  std::vector<float> expected(x.size());
  layer_norm(x, weight, bias, 1e-5F, rows, width, expected, ref.context());
  const auto card_x = card.upload(x, offset);
  const auto card_weight = card.upload(weight);
  const auto card_bias = card.upload(bias);
  const auto y = card.make<float>(x.size(), offset);
  layer_norm(card_x, card_weight, card_bias, 1e-5F, rows, width, y, card.context());
  const auto got = card.download(y);
  // In place.
  layer_norm(card_x, card_weight, card_bias, 1e-5F, rows, width, card_x, card.context());
  EXPECT_TRUE(same_bits(card.download(card_x), got)) << width;
  for (std::size_t i = 0; i < got.size(); ++i) {
    // Values of 3 lose 2e-7 with their mean, a few at a width of two where it is most of them.
    ASSERT_NEAR(got[i], expected[i], 2e-5 + 1e-5 * std::fabs(expected[i]))
        << rows << " rows of " << width << ", " << weights.weight_rows << ", " << weights.bias_rows
        << ", " << offset;
  }
}

TEST_F(RowsCuda, LayerNormAgreesWithTheProcessorAtEveryWidth) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t width : kWidths) {
    for (const std::size_t offset : {0, 1}) {
      for (const NormWeights& weights :
           {NormWeights{1, 1}, NormWeights{1, 0}, NormWeights{0, 1}, NormWeights{0, 0}}) {
        expect_layer_norm_like_the_processor(card, 3, width, weights, offset);
      }
    }
  }
  expect_layer_norm_like_the_processor(card, 1, 4096, {}, 0);
  expect_layer_norm_like_the_processor(card, 700, 768, {}, 0);
}

TEST_F(RowsCuda, LayerNormsOfHeadsTakeTheirOwnWeights) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t width : {1, 8, 20, 33, 64, 80, 128, 256, 512, 516}) {
    for (const std::size_t offset : {0, 1}) {
      expect_layer_norm_like_the_processor(card, 6 * 5, width, {.weight_rows = 5, .bias_rows = 0},
                                           offset);
      expect_layer_norm_like_the_processor(card, 6 * 5, width, {.weight_rows = 5, .bias_rows = 1},
                                           offset);
      expect_layer_norm_like_the_processor(card, 6 * 5, width, {.weight_rows = 1, .bias_rows = 5},
                                           offset);
    }
  }
}

TEST_F(RowsCuda, LayerNormOfEqualValuesIsTheBias) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t width : {1, 5, 64, 4096}) {
    const auto bias = random_floats(width, 2);
    const auto card_bias = card.upload(bias);
    const auto x = card.upload(std::vector<float>(static_cast<std::size_t>(width), 2.0F));
    layer_norm(x, {}, card_bias, 1e-5F, 1, width, x, card.context());
    EXPECT_TRUE(same_bits(card.download(x), bias)) << width;
  }
}

TEST_F(RowsCuda, NormsOfHeadsDoNotDependOnTheOtherRows) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t width : {64, 80, 128, 512}) {
    const std::int64_t rows = 33;
    const auto size = static_cast<std::size_t>(width);
    const auto x = card.upload(random_floats(rows * width, 1));
    const auto weight = card.upload(random_floats(width, 2));
    const auto y = card.make<float>(x.size());
    const auto alone = card.make<float>(size);
    layer_norm(x, weight, {}, 1e-5F, rows, width, y, card.context());
    layer_norm(x.span().last(size), weight, {}, 1e-5F, 1, width, alone, card.context());
    auto all = card.download(y);
    EXPECT_TRUE(same_bits(std::span<const float>(all).last(size), card.download(alone)));
    rms_norm(x, weight, 1e-5F, rows, y, card.context());
    rms_norm(x.span().last(size), weight, 1e-5F, 1, alone, card.context());
    all = card.download(y);
    EXPECT_TRUE(same_bits(std::span<const float>(all).last(size), card.download(alone)));
  }
}

constexpr std::array kActivations = {Activation::kSilu,     Activation::kGelu,
                                     Activation::kGeluTanh, Activation::kQuickGelu,
                                     Activation::kRelu,     Activation::kRelu2};

// What activation.h promises of activation(z), a value that is multiplied by `up` then.
double activation_tolerance(Activation activation, float z, float up, float expected) {
  const bool is_close = activation == Activation::kSilu || activation == Activation::kRelu ||
                        activation == Activation::kRelu2;
  const double each = is_close ? 4 * 6e-8 * std::fabs(expected)
                               : 1e-6 * std::fabs(z) * std::fabs(up) + 1e-7 * std::fabs(expected);
  return each + 1e-35;
}

void expect_activations_like_ref(CudaMachine& card, const std::vector<float>& x,
                                 const std::vector<float>& up, std::size_t offset) {
  Machine ref(Isa::kRef);
  const auto card_x = card.upload(x, offset);
  const auto card_up = card.upload(up);
  for (const Activation activation : kActivations) {
    std::vector<float> expected(x.size());
    activate(activation, x, expected, ref.context());
    const auto out = card.make<float>(x.size());
    activate(activation, card_x, out, card.context());
    auto got = card.download(out);
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (expected[i] == got[i]) continue;  // infinities
      ASSERT_NEAR(got[i], expected[i], activation_tolerance(activation, x[i], 1.0F, expected[i]))
          << static_cast<int>(activation) << " of " << x[i];
    }
    gate_mul(activation, x, up, expected, ref.context());
    gate_mul(activation, card_x, card_up, out, card.context());
    got = card.download(out);
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (expected[i] == got[i]) continue;
      ASSERT_NEAR(got[i], expected[i], activation_tolerance(activation, x[i], up[i], expected[i]))
          << static_cast<int>(activation) << " of " << x[i] << ", times " << up[i];
    }
  }
}

TEST_F(RowsCuda, ActivationsAgreeWithRef) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t size : {0, 1, 3, 4, 5, 255, 1023, 1024, 1025, 300'001}) {
    for (const std::size_t offset : {0, 1}) {
      expect_activations_like_ref(card, random_floats(size, 1, 3.0F), random_floats(size, 2),
                                  offset);
    }
  }
  std::vector<float> x = {-1e18F, -200.0F, -88.8F, -1e-30F, -0.0F, 0.0F, 1e-30F, 200.0F, 1e18F};
  for (float z = -130; z <= 130; z += 0.0371F) x.push_back(z);
  for (float z = -8; z <= 8; z += 0.00171F) x.push_back(z);
  expect_activations_like_ref(card, x, std::vector<float>(x.size(), 1.0F), 0);
}

TEST_F(RowsCuda, ActivationsKeepNanAndInfinity) {
  CudaMachine card(kSmallWorkspace);
  const auto x = card.upload(std::vector<float>{NAN, NAN, NAN, NAN, NAN, kInfinity});
  const auto ones = card.upload(std::vector<float>(6, 1.0F));
  const auto out = card.make<float>(6);
  for (const Activation activation : kActivations) {
    activate(activation, x, out, card.context());
    const auto alone = card.download(out);
    gate_mul(activation, x, ones, out, card.context());
    const auto gated = card.download(out);
    for (std::size_t i = 0; i < 5; ++i) {
      EXPECT_TRUE(std::isnan(alone[i])) << static_cast<int>(activation);
      EXPECT_TRUE(std::isnan(gated[i])) << static_cast<int>(activation);
    }
    EXPECT_EQ(alone[5], kInfinity) << static_cast<int>(activation);
    EXPECT_EQ(gated[5], kInfinity) << static_cast<int>(activation);
  }
}

TEST_F(RowsCuda, ActivationsWorkInPlace) {
  CudaMachine card(kSmallWorkspace);
  for (const Activation activation : kActivations) {
    const auto x = card.upload(random_floats(1027, 1));
    const auto up = card.upload(random_floats(1027, 2));
    const auto out = card.make<float>(1027);
    gate_mul(activation, x, up, out, card.context());
    gate_mul(activation, x, up, up, card.context());
    EXPECT_TRUE(same_bits(card.download(up), card.download(out)));
    activate(activation, x, out, card.context());
    activate(activation, x, x, card.context());
    EXPECT_TRUE(same_bits(card.download(x), card.download(out)));
  }
}

TEST_F(RowsCuda, AddGivesTheBitsOfTheProcessor) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  for (const std::int64_t size : {0, 1, 3, 4, 7, 1024, 1025, 2'000'003}) {
    for (const std::size_t offset : {0, 3}) {
      auto x = random_floats(size, 1);
      const auto y = random_floats(size, 2);
      const auto card_x = card.upload(x, offset);
      const auto card_y = card.upload(y);
      add(card_x, card_y, card.context());
      add(x, y, ref.context());
      EXPECT_TRUE(same_bits(card.download(card_x), x)) << size << " " << offset;
    }
  }
}

TEST_F(RowsCuda, ScalesGiveTheBitsOfTheProcessor) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  for (const std::int64_t size : {0, 1, 3, 4, 7, 1024, 1025, 200'003}) {
    for (const std::size_t offset : {0, 3}) {
      for (const float factor : {0.0F, -1.0F, 0.0625F, 12.34567F}) {
        auto x = random_floats(size, 1);
        const auto y = random_floats(size, 2);
        const auto card_x = card.upload(x, offset);
        const auto card_y = card.upload(y);
        scale(card_x, factor, card.context());
        scale(x, factor, ref.context());
        EXPECT_TRUE(same_bits(card.download(card_x), x)) << size << " " << factor;
        add_scaled(card_x, card_y, factor, card.context());
        add_scaled(x, y, factor, ref.context());
        EXPECT_TRUE(same_bits(card.download(card_x), x)) << size << " " << factor;
      }
    }
  }
}

TEST_F(RowsCuda, SoftCapAgreesWithRef) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  std::vector<float> x = {-kInfinity, -1e30F, -1e-30F, -0.0F, 0.0F, 1e-30F, 1e30F, kInfinity};
  for (float z = -400; z <= 400; z += 0.0371F) x.push_back(z);
  for (const float cap : {1.0F, 30.0F, 50.0F}) {
    for (const std::size_t offset : {0, 1}) {
      auto expected = x;
      soft_cap(expected, cap, ref.context());
      const auto values = card.upload(x, offset);
      soft_cap(values, cap, card.context());
      const auto got = card.download(values);
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], expected[i], 1e-6 * cap) << x[i] << " " << cap;
      }
    }
  }
  const auto nan = card.upload(std::vector<float>(5, NAN));
  soft_cap(nan, 30.0F, card.context());
  for (const float value : card.download(nan)) EXPECT_TRUE(std::isnan(value));
}

TEST_F(RowsCuda, CopiesAreWhatWasCopied) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t size : {0, 1, 4, 5, 1023, 1024, 100'001}) {
    for (const std::size_t offset : {0, 1}) {
      const auto x = random_floats(size, 1);
      const auto from = card.upload(x, offset);
      const auto to = card.make<float>(x.size());
      copy_values(from, to, card.context());
      EXPECT_TRUE(same_bits(card.download(to), x)) << size;
    }
  }
}

TEST_F(RowsCuda, StackedRowsLieOneAfterTheOther) {
  CudaMachine card(kSmallWorkspace);
  for (const std::size_t count : {1, 3, 64, 65, 130}) {
    for (const std::int64_t width : {1, 20, 64, 300}) {
      const auto x = random_floats(static_cast<std::int64_t>(count) * width, 1);
      const auto card_x = card.upload(x, 1);
      std::vector<const float*> rows;
      std::vector<float> expected;
      for (std::size_t i = 0; i < count; ++i) {
        const auto at = (count - 1 - i) * static_cast<std::size_t>(width);
        rows.push_back(card_x.data() + at);
        const auto first = x.begin() + static_cast<std::ptrdiff_t>(at);
        expected.insert(expected.end(), first, first + width);
      }
      const auto to = card.make<float>(x.size());
      stack_rows(rows, width, to, card.context());
      EXPECT_TRUE(same_bits(card.download(to), expected)) << count << " " << width;
    }
  }
}

TEST_F(RowsCuda, SplitColumnsGivesWhatTheProcessorDoes) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  const std::vector<std::vector<std::int64_t>> shares = {
      {5}, {8, 8}, {1, 2}, {64, 16, 16}, {12, 0, 4}, {3, 5, 7, 9}, {4100, 1028}, {11008, 11008}};
  for (const auto& widths : shares) {
    for (const auto& [rows, groups] : {std::pair{1, 1}, {1, 7}, {3, 1}, {40, 5}}) {
      for (const std::size_t offset : {0, 1}) {
        const std::int64_t runs = rows * groups;
        std::int64_t run = 0;
        for (const std::int64_t width : widths) run += width;
        const auto x = random_floats(runs * run, 1);
        const auto card_x = card.upload(x, offset);
        // Four parts at most, those beyond `widths` of no values.
        std::vector<std::vector<float>> parts(4);
        std::vector<cuda_test::CardArray<float>> card_parts;
        for (std::size_t p = 0; p < 4; ++p) {
          if (p < widths.size()) parts[p].resize(static_cast<std::size_t>(runs * widths[p]));
          card_parts.push_back(card.make<float>(parts[p].size()));
        }
        split_columns(x, rows, groups, {parts[0], parts[1], parts[2], parts[3]}, ref.context());
        split_columns(card_x, rows, groups,
                      {card_parts[0], card_parts[1], card_parts[2], card_parts[3]}, card.context());
        for (std::size_t p = 0; p < 4; ++p) {
          EXPECT_TRUE(same_bits(card.download(card_parts[p]), parts[p])) << run << " " << p;
        }
      }
    }
  }
}

TEST_F(RowsCuda, RotationsGiveTheBitsOfTheProcessor) {
  CudaMachine card(kSmallWorkspace);
  Machine ref(Isa::kRef);
  for (const std::int64_t rows : {1, 3}) {
    for (const std::int64_t heads : {1, 5, 32}) {
      for (const std::int64_t head_dim : {2, 6, 8, 24, 64, 80, 128, 130}) {
        for (const std::int64_t rotary_dim : {std::int64_t{0}, head_dim / 4 * 2, head_dim}) {
          for (const std::size_t offset : {0, 1}) {
            const RotaryShape shape{
                .rows = rows, .heads = heads, .head_dim = head_dim, .rotary_dim = rotary_dim};
            const auto x = random_floats(rows * heads * head_dim, 1);
            const auto cos = random_floats(rows * rotary_dim / 2, 2);
            const auto sin = random_floats(rows * rotary_dim / 2, 3);
            const auto card_cos = card.upload(cos);
            const auto card_sin = card.upload(sin);
            auto expected = x;
            apply_rotary_halves(expected, shape, cos, sin, ref.context());
            const auto halves = card.upload(x, offset);
            apply_rotary_halves(halves, shape, card_cos, card_sin, card.context());
            ASSERT_TRUE(same_bits(card.download(halves), expected))
                << head_dim << " " << rotary_dim;
            expected = x;
            apply_rotary_pairs(expected, shape, cos, sin, ref.context());
            const auto pairs = card.upload(x, offset);
            apply_rotary_pairs(pairs, shape, card_cos, card_sin, card.context());
            ASSERT_TRUE(same_bits(card.download(pairs), expected)) << head_dim << " " << rotary_dim;
          }
        }
      }
    }
  }
}

TEST_F(RowsCuda, RoundingGivesTheBitsOfTheProcessor) {
  CudaMachine card(kSmallWorkspace);
  std::vector<float> x = random_floats(1021, 1);
  for (const float scale : {1e-7F, 1e-5F, 1e4F, 1e6F, 1e-40F}) {
    for (const float value : random_floats(50, 2, scale)) x.push_back(value);
  }
  for (const float value : {0.0F, -0.0F, 65504.0F, 65519.9F, 65520.0F, -65536.0F, kInfinity,
                            1.0F + 0x1p-8F, 1.0F + 0x3p-8F, 1.0F + 0x1p-11F, 1.0F + 0x3p-11F}) {
    x.push_back(value);
  }
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    for (const std::size_t offset : {0, 1}) {
      const auto size = static_cast<std::int64_t>(x.size());
      std::vector<std::byte> bytes(x.size() * 2);
      encode_row(dtype, x.data(), size, bytes.data());
      std::vector<float> expected(x.size());
      decode_row(dtype, bytes.data(), size, expected.data(), Isa::kRef);
      const auto values = card.upload(x, offset);
      cuda::round_values(dtype, values, card.context());
      EXPECT_TRUE(same_bits(card.download(values), expected)) << to_string(dtype);
    }
  }
}

TEST_F(RowsCuda, RoundingKeepsNan) {
  CudaMachine card(kSmallWorkspace);
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    const auto values = card.upload(std::vector<float>(5, NAN));
    cuda::round_values(dtype, values, card.context());
    for (const float value : card.download(values)) EXPECT_TRUE(std::isnan(value));
  }
}

TEST_F(RowsCuda, FetchedRowsAreThoseOfTheTable) {
  CudaMachine card(kSmallWorkspace);
  const std::vector<std::int32_t> ids = {5, 0, 5, 2, 8};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const std::int64_t width : {1, 7, 8, 9, 64, 1000, 1003}) {
      for (const std::size_t offset : {0, 1}) {
        const auto values = random_floats(9 * width, 1);
        std::vector<std::byte> table(packed_bytes(dtype, 9 * width).value());
        encode_row(dtype, values.data(), 9 * width, table.data());
        std::vector<float> all(values.size());
        decode_row(dtype, table.data(), 9 * width, all.data(), Isa::kRef);
        std::vector<float> expected;
        for (const std::int32_t id : ids) {
          expected.insert(expected.end(), all.begin() + id * width, all.begin() + (id + 1) * width);
        }
        const auto card_table = card.upload(table, offset);
        const auto card_ids = card.upload(ids);
        const auto out = card.make<float>(expected.size());
        cuda::fetch_rows(dtype, card_table.data(), width, card_ids.data(), 5, out.data(),
                         card.context());
        EXPECT_TRUE(same_bits(card.download(out), expected)) << to_string(dtype) << " " << width;
      }
    }
  }
}

TEST_F(RowsCuda, GatheredRowsAreThoseOfTheMatrix) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t width : {1, 4, 33, 4096}) {
    const auto x = random_floats(6 * width, 1);
    const std::vector<std::int32_t> rows = {5, 1, 1};
    std::vector<float> expected;
    for (const std::int32_t row : rows) {
      expected.insert(expected.end(), x.begin() + row * width, x.begin() + (row + 1) * width);
    }
    const auto card_x = card.upload(x);
    const auto card_rows = card.upload(rows);
    const auto out = card.make<float>(expected.size(), 1);
    cuda::gather_rows(card_x.data(), width, card_rows.data(), 3, out.data(), card.context());
    EXPECT_TRUE(same_bits(card.download(out), expected)) << width;
  }
}

std::vector<std::int32_t> card_argmax(CudaMachine& card, const std::vector<float>& x,
                                      std::int64_t rows) {
  const auto card_x = card.upload(x, 1);
  const auto ids = card.make<std::int32_t>(static_cast<std::size_t>(rows));
  cuda::argmax(card_x.data(), rows, static_cast<std::int64_t>(x.size()) / rows, ids.data(),
               card.context());
  return card.download(ids);
}

TEST_F(RowsCuda, ArgmaxFindsTheLargestAtEveryPlace) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t width : {1, 2, 31, 257, 4097, 32000, 128256, 300'000}) {
    std::vector<std::int64_t> places = {0, width / 3, width / 2, width - 1};
    std::vector<float> x = random_floats(4 * width, 1);
    for (std::size_t row = 0; row < 4; ++row) {
      x[row * static_cast<std::size_t>(width) + static_cast<std::size_t>(places[row])] = 100.0F;
    }
    const auto ids = card_argmax(card, x, 4);
    for (std::size_t row = 0; row < 4; ++row) EXPECT_EQ(ids[row], places[row]) << width;
  }
}

TEST_F(RowsCuda, ArgmaxTakesTheFirstOfEqualsAndNoNan) {
  CudaMachine card(kSmallWorkspace);
  std::vector<float> x(45'000, -3.0F);
  x[8000] = x[5000] = x[8999] = -1.0F;
  x[9000 + 7] = NAN;
  x[9000 + 4000] = -0.0F;
  x[9000 + 4001] = 0.0F;
  for (std::size_t i = 0; i < 9000; ++i) x[18000 + i] = -kInfinity;
  for (std::size_t i = 0; i < 9000; ++i) x[27000 + i] = NAN;
  x[36000 + 6000] = kInfinity;
  EXPECT_THAT(card_argmax(card, x, 5), testing::ElementsAre(5000, 4000, 0, -1, 6000));
}

TEST_F(RowsCuda, ArgmaxTakesMoreRowsThanAGridHas) {
  CudaMachine card(std::size_t{8} << 20);
  std::vector<float> x(210'000, 0.0F);
  for (std::size_t row = 0; row < 70'000; ++row) x[3 * row + row % 3] = 1.0F;
  const auto ids = card_argmax(card, x, 70'000);
  for (std::size_t row = 0; row < 70'000; ++row) {
    ASSERT_EQ(ids[row], static_cast<std::int32_t>(row % 3));
  }
}

}  // namespace
}  // namespace shoehorn
