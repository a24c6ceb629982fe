#include "kernels/decode_row.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "tensor/half.h"

namespace shoehorn {
namespace {

constexpr DType kPlain[] = {DType::kF32, DType::kF16,    DType::kBF16,
                            DType::kF64, DType::kF8E4M3, DType::kF8E5M2};
constexpr DType kBlocks[] = {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,   DType::kQ5_1,
                             DType::kQ8_0, DType::kQ2_K, DType::kQ3_K,   DType::kQ4_K,
                             DType::kQ5_K, DType::kQ6_K, DType::kIQ4_NL, DType::kIQ4_XS,
                             DType::kMXFP4};

bool same_float(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

/// `elements` decoded from random bytes that start off alignment; a canary stands after the end.
std::vector<float> decoded(DType dtype, std::int64_t elements, Isa isa, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(packed_bytes(dtype, elements).value() + 1);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  std::vector<float> out(static_cast<std::size_t>(elements) + 1, 77.0F);
  decode_row(dtype, bytes.data() + 1, elements, out.data(), isa);
  EXPECT_EQ(out.back(), 77.0F) << to_string(dtype) << " wrote past " << elements;
  return out;
}

class DecodeRow : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > detect_isa()) GTEST_SKIP() << "not on this processor";
  }
  static void expect_equals_ref(DType dtype, std::int64_t elements) {
    const std::vector<float> expected = decoded(dtype, elements, Isa::kRef, 11);
    const std::vector<float> found = decoded(dtype, elements, GetParam(), 11);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_TRUE(same_float(found[i], expected[i]))
          << to_string(dtype) << " " << i << " of " << elements << ": " << found[i]
          << ", reference " << expected[i];
    }
  }
};

// Random bytes hold every kind of scale: subnormals, infinities and NaNs are 3 % of all binary16.
TEST_P(DecodeRow, BlocksEqualTheReferenceBitForBit) {
  for (const DType dtype : kBlocks) {
    const std::int64_t block = dtype_info(dtype).block_elements;
    for (std::int64_t blocks = 0; blocks <= 9; ++blocks) expect_equals_ref(dtype, blocks * block);
    expect_equals_ref(dtype, 300 * block);
  }
}

TEST_P(DecodeRow, PlainTypesEqualTheReferenceAtEveryLength) {
  for (const DType dtype : kPlain) {
    for (std::int64_t elements = 0; elements <= 40; ++elements) expect_equals_ref(dtype, elements);
    expect_equals_ref(dtype, 5000);
  }
}

TEST_P(DecodeRow, EveryF16HasItsValue) {
  std::vector<std::uint16_t> bits(0x10000);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  std::vector<float> out(bits.size());
  decode_row(DType::kF16, reinterpret_cast<const std::byte*>(bits.data()), 0x10000, out.data(),
             GetParam());
  for (std::size_t i = 0; i < bits.size(); ++i) {
    ASSERT_TRUE(same_float(out[i], f16_to_f32(bits[i]))) << i;
  }
}

// Figures of the OCP 8-bit floating point specification.
TEST_P(DecodeRow, F8E4M3HasTheValuesOfItsSpecification) {
  const std::uint8_t bits[] = {0x00, 0x80, 0x01, 0x07, 0x08, 0x38, 0xB8, 0x7E, 0xFE, 0x7F};
  const float expected[] = {0.0F, -0.0F, 0x1p-9F, 0x1.Cp-7F, 0x1p-6F,
                            1.0F, -1.0F, 448.0F,  -448.0F,   std::nanf("")};
  float out[10];
  decode_row(DType::kF8E4M3, reinterpret_cast<const std::byte*>(bits), 10, out, GetParam());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(same_float(out[i], expected[i])) << i << ": " << out[i];
}

TEST_P(DecodeRow, F8E5M2HasTheValuesOfItsSpecification) {
  const std::uint8_t bits[] = {0x00, 0x01, 0x03, 0x04, 0x3C, 0x7B, 0xFB, 0x7C, 0xFC, 0x7D};
  const float infinity = std::numeric_limits<float>::infinity();
  const float expected[] = {0.0F,    0x1p-16F,  0x1.8p-15F, 0x1p-14F,  1.0F,
                            57344.F, -57344.0F, infinity,   -infinity, std::nanf("")};
  float out[10];
  decode_row(DType::kF8E5M2, reinterpret_cast<const std::byte*>(bits), 10, out, GetParam());
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(same_float(out[i], expected[i])) << i << ": " << out[i];
}

TEST_P(DecodeRow, F64RoundsToNearestEven) {
  const double values[] = {1.0 + 0x1p-24, 1.0 + 0x1.8p-23, 1e300, -1e-300, 0x1p-149};
  const float expected[] = {1.0F, 1.0F + 0x1p-22F, std::numeric_limits<float>::infinity(), -0.0F,
                            0x1p-149F};
  float out[5];
  decode_row(DType::kF64, reinterpret_cast<const std::byte*>(values), 5, out, GetParam());
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(same_float(out[i], expected[i])) << i << ": " << out[i];
}

TEST_P(DecodeRow, RefusesTypesThatAreNoFloats) {
  float out[1];
  const std::byte bytes[8]{};
  EXPECT_THROW(decode_row(DType::kI32, bytes, 1, out, GetParam()), UnsupportedError);
}

TEST_P(DecodeRow, RefusesIncompleteBlocks) {
  float out[256];
  const std::byte bytes[256]{};
  EXPECT_THROW(decode_row(DType::kQ4_K, bytes, 32, out, GetParam()), ArgumentError);
}

/// Values around every rounding and range boundary, and random ones of every magnitude.
std::vector<float> values_to_encode() {
  std::vector<float> values = {0.0F,
                               -0.0F,
                               1.0F + 0x1p-11F,
                               1.0F + 3 * 0x1p-11F,
                               65519.0F,
                               65520.0F,
                               -65536.0F,
                               0x1p-24F,
                               0x1p-25F,
                               0x1.8p-25F,
                               1.0F + 0x1p-8F,
                               3.4e38F,
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity(),
                               std::bit_cast<float>(0x7FC00001U),
                               std::bit_cast<float>(0xFFBFFFFFU),
                               std::bit_cast<float>(0x7F800001U),
                               std::bit_cast<float>(0x7F7FFFFFU)};
  std::mt19937 random(5);
  for (int i = 0; i < 20000; ++i) {
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  }
  return values;
}

class EncodeRow : public DecodeRow {};

TEST_P(EncodeRow, F16IsTheNearestWithTiesToEven) {
  const std::vector<float> values = values_to_encode();
  std::vector<std::uint16_t> bits(values.size());
  encode_row(DType::kF16, values.data(), static_cast<std::int64_t>(values.size()),
             reinterpret_cast<std::byte*>(bits.data()), GetParam());
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(bits[i], f32_to_f16(values[i])) << i;
}

TEST_P(EncodeRow, BF16IsTheNearestWithTiesToEven) {
  const std::vector<float> values = values_to_encode();
  std::vector<std::uint16_t> bits(values.size());
  encode_row(DType::kBF16, values.data(), static_cast<std::int64_t>(values.size()),
             reinterpret_cast<std::byte*>(bits.data()), GetParam());
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(bits[i], f32_to_bf16(values[i])) << i;
}

TEST_P(EncodeRow, WritesEveryLengthAndNotPastIt) {
  const std::vector<float> values(40, 2.5F);
  for (std::int64_t elements = 0; elements <= 40; ++elements) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(2 * elements) + 3, std::byte{0xAB});
    encode_row(DType::kF16, values.data(), elements, bytes.data() + 1, GetParam());
    EXPECT_EQ(bytes.front(), std::byte{0xAB});
    EXPECT_EQ(bytes[static_cast<std::size_t>(2 * elements) + 1], std::byte{0xAB}) << elements;
    std::vector<float> back(static_cast<std::size_t>(elements));
    decode_row(DType::kF16, bytes.data() + 1, elements, back.data(), GetParam());
    for (const float value : back) EXPECT_EQ(value, 2.5F);
  }
}

TEST_P(EncodeRow, F32IsACopy) {
  const float values[] = {1.5F, -2.0F, 0x1p-149F};
  float out[3];
  encode_row(DType::kF32, values, 3, reinterpret_cast<std::byte*>(out), GetParam());
  EXPECT_EQ(std::memcmp(values, out, sizeof(out)), 0);
}

TEST_P(EncodeRow, RefusesBlocks) {
  const float values[32]{};
  std::byte bytes[64];
  EXPECT_THROW(encode_row(DType::kQ8_0, values, 32, bytes, GetParam()), UnsupportedError);
}

std::string isa_name(const ::testing::TestParamInfo<Isa>& info) {
  return std::string(to_string(info.param));
}
INSTANTIATE_TEST_SUITE_P(EveryIsa, DecodeRow,
                         ::testing::Values(Isa::kRef, Isa::kAvx2, Isa::kAvx512), isa_name);
INSTANTIATE_TEST_SUITE_P(EveryIsa, EncodeRow,
                         ::testing::Values(Isa::kRef, Isa::kAvx2, Isa::kAvx512), isa_name);

}  // namespace
}  // namespace shoehorn
