#include "kernels/quantize_weight.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"
#include "quant/code_books.h"
#include "quant/four_bit.h"
#include "quant/int8_rows.h"

namespace shoehorn {
namespace {

using kernel_test::random_floats;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits;
  bits.reserve(values.size());
  for (const float value : values) bits.push_back(std::bit_cast<std::uint32_t>(value));
  return bits;
}

/// Any bits as floats: one in 256 is infinite or NaN, as many are subnormal or zero.
std::vector<float> any_floats(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
  return values;
}

/// Every midpoint, and its neighbours, times a power of two that is each block's absmax: what
/// decides ties. Blocks start with their absmax.
std::vector<float> decision_boundaries(QuantType type, std::int64_t count) {
  std::vector<float> edges;
  for (const float midpoint : four_bit_decision(type).midpoints) {
    edges.insert(edges.end(), {midpoint, std::nextafter(midpoint, -2.0F),
                               std::nextafter(midpoint, 2.0F), -midpoint});
  }
  edges.insert(edges.end(), {0.0F, -0.0F, 1e-40F, -1e-40F});
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float absmax = std::ldexp(1.0F, static_cast<int>(i / 4096 % 40) - 20);
    values[i] = absmax * (i % 32 == 0 ? -1.0F : edges[(i * 7 + i / 32) % edges.size()]);
  }
  return values;
}

struct FourBits {
  std::vector<std::uint8_t> packed;
  std::vector<float> absmax;
  bool finite = true;
};

class QuantizeFourBitWeight : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > detect_isa()) GTEST_SKIP() << "not on this processor";
  }

  /// What the path gives, from values off alignment, with a guard behind the results.
  static FourBits quantized(QuantType type, std::int64_t blocksize, std::vector<float> x) {
    const auto n = static_cast<std::int64_t>(x.size());
    x.insert(x.begin(), 0.0F);
    const auto blocks = static_cast<std::size_t>((n + blocksize - 1) / blocksize);
    FourBits out{
        .packed = std::vector<std::uint8_t>(static_cast<std::size_t>((n + 1) / 2) + 1, 0xA5),
        .absmax = std::vector<float>(blocks + 1, 77.0F)};
    out.finite = quantize_four_bit_weight(type, blocksize, x.data() + 1, n, out.packed.data(),
                                          out.absmax.data(), GetParam());
    EXPECT_EQ(out.packed.back(), 0xA5);
    EXPECT_EQ(out.absmax.back(), 77.0F);
    out.packed.pop_back();
    out.absmax.pop_back();
    return out;
  }

  static void expect_equals_reference(QuantType type, std::int64_t blocksize,
                                      const std::vector<float>& x) {
    SCOPED_TRACE(std::string(to_string(type)) + " " + std::to_string(blocksize) + ", " +
                 std::to_string(x.size()) + " values");
    const FourBits found = quantized(type, blocksize, x);
    FourBits expected = found;
    std::fill(expected.packed.begin(), expected.packed.end(), std::uint8_t{0});
    quantize_four_bit(type, blocksize, BnbParity::kCpu, x, expected.packed, expected.absmax);
    ASSERT_EQ(found.packed, expected.packed);
    ASSERT_EQ(bits_of(found.absmax), bits_of(expected.absmax));
    ASSERT_EQ(found.finite, std::all_of(expected.absmax.begin(), expected.absmax.end(),
                                        [](float value) { return std::isfinite(value); }));
  }

  template <typename Make>
  static void for_each_form(const Make& make) {
    for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
      for (std::int64_t blocksize = 32; blocksize <= 4096; blocksize *= 2) {
        expect_equals_reference(type, blocksize, make(type, blocksize));
      }
    }
  }
};

TEST_P(QuantizeFourBitWeight, NormalNumbersEqualTheReference) {
  for_each_form([](QuantType, std::int64_t blocksize) {
    return random_floats(9 * blocksize + 37, 1, 0.02F);
  });
}

TEST_P(QuantizeFourBitWeight, AnyBitsEqualTheReference) {
  for_each_form([](QuantType, std::int64_t blocksize) { return any_floats(33 * blocksize, 2); });
}

TEST_P(QuantizeFourBitWeight, DecisionBoundariesEqualTheReference) {
  for_each_form([](QuantType type, std::int64_t) {
    return decision_boundaries(type, std::int64_t{40} * 4096);
  });
}

TEST_P(QuantizeFourBitWeight, SubnormalsEqualTheReference) {
  for_each_form([](QuantType, std::int64_t blocksize) {
    return random_floats(6 * blocksize + 1, 3, 1e-39F);
  });
}

TEST_P(QuantizeFourBitWeight, HugeNumbersEqualTheReference) {
  for_each_form(
      [](QuantType, std::int64_t blocksize) { return random_floats(6 * blocksize + 1, 3, 1e38F); });
}

TEST_P(QuantizeFourBitWeight, BlocksOfZerosEqualTheReference) {
  for_each_form([](QuantType, std::int64_t blocksize) {
    std::vector<float> x = random_floats(7 * blocksize + 5, 4);
    const auto block = static_cast<std::size_t>(blocksize);
    std::fill_n(x.begin() + blocksize, 2 * block, 0.0F);
    std::fill_n(x.begin() + 4 * blocksize, block, -0.0F);
    std::fill(x.end() - 5, x.end(), 0.0F);
    return x;
  });
}

TEST_P(QuantizeFourBitWeight, EveryLengthEqualsTheReference) {
  for (std::int64_t n = 0; n <= 300; ++n) {
    expect_equals_reference(QuantType::kNF4, 32, random_floats(n, 5));
    expect_equals_reference(QuantType::kFP4, 64, random_floats(n, 6));
  }
}

TEST_P(QuantizeFourBitWeight, NaNInOneBlockSpoilsThatBlock) {
  for_each_form([](QuantType, std::int64_t blocksize) {
    std::vector<float> x = random_floats(5 * blocksize, 7);
    x[static_cast<std::size_t>(3 * blocksize - 1)] = -kNaN;
    return x;
  });
}

TEST_P(QuantizeFourBitWeight, SaysThatAValueIsInfiniteOrNaN) {
  std::vector<float> x = random_floats(1000, 8);
  EXPECT_TRUE(quantized(QuantType::kNF4, 64, x).finite);
  for (const float bad : {kInfinity, -kInfinity, kNaN}) {
    for (const std::size_t at : {std::size_t{0}, std::size_t{100}, std::size_t{999}}) {
      std::vector<float> spoilt = x;
      spoilt[at] = bad;
      EXPECT_FALSE(quantized(QuantType::kNF4, 64, spoilt).finite) << bad << " at " << at;
    }
  }
}

TEST_P(QuantizeFourBitWeight, RefusesOtherTypesAndBlocksizes) {
  const std::array<float, 96> x{};
  std::array<std::uint8_t, 48> packed{};
  std::array<float, 3> absmax{};
  const auto quantize = [&](QuantType type, std::int64_t blocksize) {
    quantize_four_bit_weight(type, blocksize, x.data(), 96, packed.data(), absmax.data(),
                             GetParam());
  };
  EXPECT_THROW(quantize(QuantType::kInt8, 64), ArgumentError);
  EXPECT_THROW(quantize(QuantType::kNF4, 48), ArgumentError);
  EXPECT_THROW(quantize(QuantType::kNF4, 0), ArgumentError);
}

struct Int8 {
  std::vector<std::int8_t> cb;
  std::vector<float> scb;
  bool finite = true;
};

class QuantizeInt8Weight : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > detect_isa()) GTEST_SKIP() << "not on this processor";
  }

  static Int8 quantized(std::vector<float> x, std::int64_t rows, std::int64_t k) {
    x.insert(x.begin(), 0.0F);
    Int8 out{.cb = std::vector<std::int8_t>(static_cast<std::size_t>(rows * k) + 1, 99),
             .scb = std::vector<float>(static_cast<std::size_t>(rows) + 1, 77.0F)};
    out.finite =
        quantize_int8_weight(x.data() + 1, rows, k, out.cb.data(), out.scb.data(), GetParam());
    EXPECT_EQ(out.cb.back(), 99);
    EXPECT_EQ(out.scb.back(), 77.0F);
    out.cb.pop_back();
    out.scb.pop_back();
    return out;
  }

  static void expect_equals_reference(const std::vector<float>& x, std::int64_t rows,
                                      std::int64_t k) {
    SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(k));
    const Int8 found = quantized(x, rows, k);
    Int8 expected = found;
    std::fill(expected.cb.begin(), expected.cb.end(), std::int8_t{1});
    quantize_int8_rows(x, rows, k, 0.0F, expected.cb, expected.scb, nullptr);
    ASSERT_EQ(found.cb, expected.cb);
    ASSERT_EQ(bits_of(found.scb), bits_of(expected.scb));
    ASSERT_EQ(found.finite, std::all_of(expected.scb.begin(), expected.scb.end(),
                                        [](float value) { return std::isfinite(value); }));
  }
};

TEST_P(QuantizeInt8Weight, EveryRowLengthEqualsTheReference) {
  for (std::int64_t k = 0; k <= 70; ++k) expect_equals_reference(random_floats(3 * k, 1), 3, k);
}

TEST_P(QuantizeInt8Weight, LongRowsEqualTheReference) {
  expect_equals_reference(random_floats(std::int64_t{20} * 4099, 2, 0.02F), 20, 4099);
}

TEST_P(QuantizeInt8Weight, AnyBitsEqualTheReference) {
  expect_equals_reference(any_floats(std::int64_t{4000} * 13, 3), 4000, 13);
}

// A row maximum of 127 makes the scale 1: halves are ties, which go to the even code.
TEST_P(QuantizeInt8Weight, TiesEqualTheReference) {
  std::vector<float> x(509);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0.5F * static_cast<float>(i) - 127.0F;
  expect_equals_reference(x, 1, 509);
}

// Among them values that are ties between two float16, and those that become subnormal there.
TEST_P(QuantizeInt8Weight, RoundingToFloat16EqualsTheReference) {
  std::vector<float> x;
  for (int exponent = -30; exponent < 17; ++exponent) {
    for (const float mantissa : {1.0F, 1.0F + 0x1p-11F, 1.0F + 0x1.8p-10F, 1.999F}) {
      x.push_back(std::ldexp(mantissa, exponent));
    }
  }
  const auto count = static_cast<std::int64_t>(x.size());
  expect_equals_reference(x, 1, count);
  expect_equals_reference(x, count, 1);
  expect_equals_reference(x, count / 4, 4);
}

TEST_P(QuantizeInt8Weight, RowsOfZerosAreZeros) {
  const Int8 found = quantized(std::vector<float>(60, 0.0F), 3, 20);
  EXPECT_EQ(found.cb, std::vector<std::int8_t>(60, 0));
  EXPECT_EQ(found.scb, std::vector<float>(3, 0.0F));
  EXPECT_TRUE(found.finite);
}

TEST_P(QuantizeInt8Weight, SaysThatAValueIsNoFloat16) {
  const std::vector<float> x = random_floats(300, 4);
  EXPECT_TRUE(quantized(x, 3, 100).finite);
  for (const float bad : {kInfinity, -kInfinity, kNaN, 65520.0F, -1e30F}) {
    std::vector<float> spoilt = x;
    spoilt[199] = bad;
    EXPECT_FALSE(quantized(spoilt, 3, 100).finite) << bad;
  }
  std::vector<float> largest = x;
  largest[199] = 65519.0F;
  EXPECT_TRUE(quantized(largest, 3, 100).finite);
}

std::string name_of(const ::testing::TestParamInfo<Isa>& info) {
  return std::string(to_string(info.param));
}
INSTANTIATE_TEST_SUITE_P(Paths, QuantizeFourBitWeight,
                         ::testing::Values(Isa::kRef, Isa::kAvx2, Isa::kAvx512), name_of);
INSTANTIATE_TEST_SUITE_P(Paths, QuantizeInt8Weight,
                         ::testing::Values(Isa::kRef, Isa::kAvx2, Isa::kAvx512), name_of);

}  // namespace
}  // namespace shoehorn
