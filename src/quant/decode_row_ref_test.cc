#include "quant/decode_row_ref.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "quant/block_value.h"

namespace shoehorn::quant {
namespace {

std::vector<char> read_golden(const std::string& name) {
  std::ifstream file(SHOEHORN_TEST_DATA "/gguf/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// NaNs are compared as such: their payload says which operand a processor kept.
bool same_float(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

class DecodeRowRef : public ::testing::TestWithParam<const char*> {};

// Blocks and values recorded from PyPI's gguf by tests/data/gguf/make_goldens.py: random bytes,
// with zero, subnormal, largest, infinite and NaN scales among them.
TEST_P(DecodeRowRef, EqualsGgufBitForBit) {
  const DType dtype = *dtype_from_name(GetParam());
  const std::vector<char> blocks = read_golden(std::string("blocks/") + GetParam() + ".blocks");
  const std::vector<char> expected_bytes =
      read_golden(std::string("blocks/") + GetParam() + ".f32");
  std::vector<float> expected(expected_bytes.size() / sizeof(float));
  std::memcpy(expected.data(), expected_bytes.data(), expected_bytes.size());
  const auto elements = static_cast<std::int64_t>(expected.size());
  ASSERT_GT(elements, 0);
  ASSERT_EQ(packed_bytes(dtype, elements), blocks.size());

  // Off alignment on purpose: rows start wherever the file put them.
  std::vector<std::byte> shifted(blocks.size() + 1);
  std::memcpy(shifted.data() + 1, blocks.data(), blocks.size());
  std::vector<float> decoded(expected.size());
  decode_row_ref(dtype, shifted.data() + 1, elements, decoded.data());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    ASSERT_TRUE(same_float(decoded[i], expected[i]))
        << i << ": " << decoded[i] << ", " << expected[i];
  }
}

template <typename Block, int kElements>
void expect_block_values(const std::vector<char>& blocks, const std::vector<float>& expected) {
  ASSERT_EQ(blocks.size() / sizeof(Block) * kElements, expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    Block block;
    std::memcpy(&block, blocks.data() + i / kElements * sizeof(Block), sizeof(Block));
    const float value = block_value(block, static_cast<int>(i % kElements));
    ASSERT_TRUE(same_float(value, expected[i])) << i << ": " << value << ", " << expected[i];
  }
}

void expect_block_values(DType dtype, const std::vector<char>& blocks,
                         const std::vector<float>& expected) {
  switch (dtype) {
    case DType::kQ4_0: return expect_block_values<BlockQ4_0, kSmallBlock>(blocks, expected);
    case DType::kQ4_1: return expect_block_values<BlockQ4_1, kSmallBlock>(blocks, expected);
    case DType::kQ5_0: return expect_block_values<BlockQ5_0, kSmallBlock>(blocks, expected);
    case DType::kQ5_1: return expect_block_values<BlockQ5_1, kSmallBlock>(blocks, expected);
    case DType::kQ8_0: return expect_block_values<BlockQ8_0, kSmallBlock>(blocks, expected);
    case DType::kQ2_K: return expect_block_values<BlockQ2_K, kSuperBlock>(blocks, expected);
    case DType::kQ3_K: return expect_block_values<BlockQ3_K, kSuperBlock>(blocks, expected);
    case DType::kQ4_K: return expect_block_values<BlockQ4_K, kSuperBlock>(blocks, expected);
    case DType::kQ5_K: return expect_block_values<BlockQ5_K, kSuperBlock>(blocks, expected);
    case DType::kQ6_K: return expect_block_values<BlockQ6_K, kSuperBlock>(blocks, expected);
    case DType::kIQ4_NL: return expect_block_values<BlockIQ4_NL, kSmallBlock>(blocks, expected);
    case DType::kIQ4_XS: return expect_block_values<BlockIQ4_XS, kSuperBlock>(blocks, expected);
    case DType::kMXFP4: return expect_block_values<BlockMXFP4, kSmallBlock>(blocks, expected);
    default: FAIL() << "no block type";
  }
}

TEST_P(DecodeRowRef, EveryValueAloneIsTheSame) {
  const std::vector<char> blocks = read_golden(std::string("blocks/") + GetParam() + ".blocks");
  const std::vector<char> expected_bytes =
      read_golden(std::string("blocks/") + GetParam() + ".f32");
  std::vector<float> expected(expected_bytes.size() / sizeof(float));
  std::memcpy(expected.data(), expected_bytes.data(), expected_bytes.size());
  expect_block_values(*dtype_from_name(GetParam()), blocks, expected);
}

INSTANTIATE_TEST_SUITE_P(AllBlockTypes, DecodeRowRef,
                         ::testing::Values("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K",
                                           "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"),
                         [](const auto& info) { return std::string(info.param); });

TEST(DecodeRowRefErrors, RefusesPlainTypes) {
  float out[32];
  const std::byte bytes[128]{};
  EXPECT_THROW(decode_row_ref(DType::kF16, bytes, 32, out), UnsupportedError);
}

TEST(DecodeRowRefErrors, ZeroElementsTouchNothing) {
  decode_row_ref(DType::kQ4_K, nullptr, 0, nullptr);
}

}  // namespace
}  // namespace shoehorn::quant
