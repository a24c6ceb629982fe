// Row operations on a card against those of the processor.
#include "kernels/rows_cuda.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/activation.h"
#include "kernels/add.h"
#include "kernels/cuda_test.h"
#include "kernels/decode_row.h"
#include "kernels/kernel_test.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"

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
      const auto x = random_floats(3 * width, 1);
      const auto weight = random_floats(width, 2);
      std::vector<float> expected(x.size());
      rms_norm(x, weight, 1e-5F, 3, expected, ref.context());
      const auto card_x = card.upload(x, offset);
      const auto card_weight = card.upload(weight);
      const auto y = card.make<float>(x.size(), offset);
      rms_norm(card_x, card_weight, 1e-5F, 3, y, card.context());
      const auto got = card.download(y);
      for (std::size_t i = 0; i < got.size(); ++i) {
        // A few roundings, and a sum of squares in another order.
        ASSERT_NEAR(got[i], expected[i], 2e-6 * std::fabs(expected[i])) << width << " " << offset;
      }
    }
  }
}

TEST_F(RowsCuda, RmsNormInPlaceGivesTheSameBits) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t width : {77, 4096, 8192, 20000}) {
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

void expect_silu_mul_like_ref(CudaMachine& card, const std::vector<float>& gate,
                              const std::vector<float>& up, std::size_t offset) {
  Machine ref(Isa::kRef);
  std::vector<float> expected(gate.size());
  silu_mul(gate, up, expected, ref.context());
  const auto card_gate = card.upload(gate, offset);
  const auto card_up = card.upload(up);
  const auto out = card.make<float>(gate.size());
  silu_mul(card_gate, card_up, out, card.context());
  const auto got = card.download(out);
  for (std::size_t i = 0; i < got.size(); ++i) {
    // The processor's own tolerance: expf is within 2 units in the last place on a card.
    ASSERT_NEAR(got[i], expected[i], 4 * 6e-8 * std::fabs(expected[i]) + 1e-35)
        << "silu(" << gate[i] << ") * " << up[i];
  }
}

TEST_F(RowsCuda, SiluMulAgreesWithRef) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t size : {0, 1, 3, 4, 5, 255, 1023, 1024, 1025, 300'001}) {
    for (const std::size_t offset : {0, 1}) {
      expect_silu_mul_like_ref(card, random_floats(size, 1, 3.0F), random_floats(size, 2), offset);
    }
  }
  std::vector<float> gate = {-1e30F, -200.0F, -88.8F, -1e-30F, 0.0F, 1e-30F, 200.0F, 1e30F};
  for (float z = -130; z <= 130; z += 0.0371F) gate.push_back(z);
  expect_silu_mul_like_ref(card, gate, std::vector<float>(gate.size(), 1.0F), 0);
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
