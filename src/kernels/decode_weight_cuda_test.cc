// Rows decoded on a card, bit for bit those of the processor.
#include "kernels/decode_weight_cuda.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/decode_row.h"
#include "kernels/testing_four_bit.h"
#include "kernels/testing_linear_cuda.h"

namespace shoehorn {
namespace {

using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using kernel_test::FourBitWeight;
using kernel_test::random_floats;
using kernel_test::same_bits;

class DecodeWeightCuda : public CudaTest {};

constexpr std::size_t kSmallWorkspace = 1024;

// NaNs are compared as such: payloads differ between processors and cards.
void expect_same(const std::vector<float>& got, const std::vector<float>& expected,
                 const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(got[i])) << what << " " << i;
    } else {
      ASSERT_TRUE(same_bits({&got[i], 1}, {&expected[i], 1}))
          << what << " " << i << ": " << got[i] << ", " << expected[i];
    }
  }
}

// Every bit pattern of 16-bit and 8-bit floats; doubles at the edges of float32.
std::vector<std::byte> patterns(DType dtype, std::int64_t count) {
  std::vector<std::byte> bytes(packed_bytes(dtype, count).value());
  std::uint32_t state = 1;
  for (std::byte& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  if (dtype == DType::kF64) {
    const double edges[] = {1e-46, 1.0 + 0x1p-25, -3.4e38, 3.5e38, 1e-40, 0x1.000001p0, 1e300};
    std::memcpy(bytes.data(), edges, std::min(sizeof(edges), bytes.size()));
  }
  return bytes;
}

TEST_F(DecodeWeightCuda, FloatsAreTheSameBits) {
  CudaMachine card(kSmallWorkspace);
  for (const DType dtype :
       {DType::kF32, DType::kF16, DType::kBF16, DType::kF64, DType::kF8E4M3, DType::kF8E5M2}) {
    for (const std::int64_t width : {1, 7, 256, 65536 + 3}) {
      for (const std::size_t offset : {0, 1}) {
        const std::int64_t count = 2 * width;
        const auto bytes = patterns(dtype, count);
        std::vector<float> expected(static_cast<std::size_t>(count));
        decode_row(dtype, bytes.data(), count, expected.data(), Isa::kRef);
        const auto table = card.upload(bytes, offset);
        const auto out = card.make<float>(expected.size());
        cuda::decode_rows(dtype, table.data(),
                          static_cast<std::int64_t>(packed_bytes(dtype, width).value()), width,
                          nullptr, 2, out.data(), card.queue());
        expect_same(card.download(out), expected, std::string(to_string(dtype)));
      }
    }
  }
}

std::vector<char> read_golden(const std::string& name) {
  std::ifstream file(SHOEHORN_TEST_DATA "/gguf/blocks/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Blocks and values recorded from PyPI's gguf: see quant/decode_row_ref_test.cc.
TEST_F(DecodeWeightCuda, BlocksAreWhatGgufSays) {
  CudaMachine card(kSmallWorkspace);
  for (const char* const name : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K",
                                 "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4"}) {
    const std::vector<char> blocks = read_golden(std::string(name) + ".blocks");
    const std::vector<char> floats = read_golden(std::string(name) + ".f32");
    std::vector<float> expected(floats.size() / sizeof(float));
    ASSERT_FALSE(expected.empty());
    std::memcpy(expected.data(), floats.data(), floats.size());
    for (const std::size_t offset : {0, 1}) {
      const auto table = card.upload(blocks, offset);
      const auto out = card.make<float>(expected.size());
      cuda::decode_rows(*dtype_from_name(name), reinterpret_cast<const std::byte*>(table.data()),
                        static_cast<std::int64_t>(blocks.size()),
                        static_cast<std::int64_t>(expected.size()), nullptr, 1, out.data(),
                        card.queue());
      expect_same(card.download(out), expected, name);
    }
  }
}

TEST_F(DecodeWeightCuda, RowsAreTakenByNumber) {
  CudaMachine card(kSmallWorkspace);
  const std::int64_t width = 48;
  const auto values = random_floats(10 * width, 1);
  const auto table = card.upload(values);
  const std::vector<std::int32_t> ids = {9, 0, 3, 3};
  const auto card_ids = card.upload(ids);
  const auto out = card.make<float>(ids.size() * 48);
  cuda::decode_rows(DType::kF32, reinterpret_cast<const std::byte*>(table.data()), width * 4, width,
                    card_ids.data(), 4, out.data(), card.queue());
  std::vector<float> expected;
  for (const std::int32_t id : ids) {
    const auto row = values.begin() + id * width;
    expected.insert(expected.end(), row, row + width);
  }
  expect_same(card.download(out), expected, "rows");
}

// Rows first .. first + count of a four-bit weight in 16 bits, padded to ldo.
void expect_four_bit(CudaMachine& card, const WeightForm& form, std::int64_t k, std::int64_t ldo,
                     std::size_t offset) {
  const FourBitWeight weight(form, 9, k, 1);
  WeightView view = weight.view();
  auto values = cuda_test::values_of(view);
  const auto bytes = card.upload(cuda_test::weight_bytes(view), offset);
  view.data = bytes.data();
  constexpr std::int64_t kFirst = 2;
  constexpr std::int64_t kCount = 5;
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const auto bytes_out = packed_bytes(dtype, kCount * ldo).value();
    const auto out = card.make<std::byte>(bytes_out);
    cuda::decode_weight_rows(view, kFirst, kCount, dtype, out.data(), ldo, card.queue());
    const auto got_bytes = card.download(out);
    std::vector<float> got(static_cast<std::size_t>(kCount * ldo));
    decode_row(dtype, got_bytes.data(), kCount * ldo, got.data(), Isa::kRef);
    std::vector<float> expected(got.size(), 0.0F);
    for (std::int64_t row = 0; row < kCount; ++row) {
      for (std::int64_t i = 0; i < k; ++i) {
        expected[static_cast<std::size_t>(row * ldo + i)] =
            values[static_cast<std::size_t>((kFirst + row) * k + i)];
      }
    }
    if (dtype != DType::kF32) {
      expected = cuda_test::rounded(
          dtype == DType::kBF16 ? ComputeDtype::kBF16 : ComputeDtype::kF16, expected);
    }
    expect_same(got, expected, std::string(to_string(dtype)) + " " + std::to_string(k));
  }
}

TEST_F(DecodeWeightCuda, FourBitsAreTheSameBits) {
  CudaMachine card(kSmallWorkspace);
  for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
    for (const bool nested : {false, true}) {
      for (const std::int64_t blocksize : {32, 64, 4096}) {
        const WeightForm form{.quant_type = type, .blocksize = blocksize, .nested = nested};
        expect_four_bit(card, form, 64, 64, 0);
        expect_four_bit(card, form, 2056, 2056, 0);
        expect_four_bit(card, form, 64, 72, 0);
        expect_four_bit(card, form, 37, 40, 0);
        expect_four_bit(card, form, 64, 64, 1);
      }
    }
  }
}

TEST_F(DecodeWeightCuda, RowsOfXAreRounded) {
  CudaMachine card(kSmallWorkspace);
  for (const std::int64_t k : {1, 8, 37, 4096}) {
    for (const std::int64_t ldo : {k, (k + 7) / 8 * 8 + 8}) {
      const auto x = random_floats(3 * k, 1);
      const auto card_x = card.upload(x);
      const auto out = card.make<std::uint16_t>(static_cast<std::size_t>(3 * ldo));
      cuda::round_rows(card_x.data(), 3, k, DType::kBF16, out.data(), ldo, card.queue());
      const auto got = card.download(out);
      for (std::int64_t m = 0; m < 3; ++m) {
        for (std::int64_t i = 0; i < ldo; ++i) {
          const std::uint16_t expected =
              i < k ? f32_to_bf16(x[static_cast<std::size_t>(m * k + i)]) : std::uint16_t{0};
          ASSERT_EQ(got[static_cast<std::size_t>(m * ldo + i)], expected)
              << k << " " << m << " " << i;
        }
      }
    }
  }
}

}  // namespace
}  // namespace shoehorn
