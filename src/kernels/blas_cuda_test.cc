// Products of cuBLASLt against sums in double precision; which it takes.
#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/blas.h"
#include "kernels/testing_linear_cuda.h"

namespace shoehorn {
namespace {

using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using kernel_test::random_floats;

class BlasCuda : public CudaTest {};

std::vector<std::byte> encoded(DType dtype, const std::vector<float>& values) {
  const auto count = static_cast<std::int64_t>(values.size());
  std::vector<std::byte> bytes(packed_bytes(dtype, count).value());
  encode_row(dtype, values.data(), count, bytes.data());
  return bytes;
}

TEST_F(BlasCuda, ProductsOfEveryDtypeIntoColumns) {
  CudaMachine card(1024);
  const std::int64_t rows = 24;
  const std::int64_t n = 40;
  const std::int64_t k = 72;
  const std::int64_t ldy = 48;
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const bool accumulate : {false, true}) {
      auto x = encoded(dtype, random_floats(rows * k, 1));
      auto w = encoded(dtype, random_floats(n * k, 2));
      std::vector<float> x_values(static_cast<std::size_t>(rows * k));
      std::vector<float> w_values(static_cast<std::size_t>(n * k));
      decode_row(dtype, x.data(), rows * k, x_values.data(), Isa::kRef);
      decode_row(dtype, w.data(), n * k, w_values.data(), Isa::kRef);
      const auto before = random_floats(rows * ldy, 3);
      const auto card_x = card.upload(x);
      const auto card_w = card.upload(w);
      const auto y = card.upload(before);
      card.queue().blas().product(dtype, {.rows = rows,
                                          .n = n,
                                          .k = k,
                                          .x = card_x.data(),
                                          .w = card_w.data(),
                                          .y = y.data(),
                                          .ldy = ldy,
                                          .accumulate = accumulate});
      const auto got = card.download(y);
      const auto product = cuda_test::exact_product(x_values, rows, w_values, n);
      for (std::int64_t m = 0; m < rows; ++m) {
        for (std::int64_t i = 0; i < ldy; ++i) {
          const auto at = static_cast<std::size_t>(m * ldy + i);
          float expected = before[at];  // behind the columns: as it was
          if (i < n) {
            expected = product[static_cast<std::size_t>(m * n + i)] + (accumulate ? expected : 0);
          }
          // float32 sums; TF32 would be off by some 1e-2.
          ASSERT_NEAR(got[at], expected, i < n ? 3e-5 : 0) << to_string(dtype) << m << " " << i;
        }
      }
    }
  }
}

TEST_F(BlasCuda, IntegerProductsAreExact) {
  CudaMachine card(1024);
  for (const std::int64_t k : {16, 64, 4096}) {
    const std::int64_t rows = 32;
    const std::int64_t n = 48;
    std::vector<std::int8_t> x(static_cast<std::size_t>(rows * k));
    std::vector<std::int8_t> w(static_cast<std::size_t>(n * k));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::int8_t>(i * 37 % 255 - 127);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<std::int8_t>(i * 91 % 256 - 128);
    const auto card_x = card.upload(x);
    const auto card_w = card.upload(w);
    const auto y = card.make<std::int32_t>(static_cast<std::size_t>(rows * n));
    ASSERT_TRUE(card.queue().blas().try_int8_product({.rows = rows,
                                                      .n = n,
                                                      .k = k,
                                                      .x = card_x.data(),
                                                      .w = card_w.data(),
                                                      .y = y.data(),
                                                      .ldy = n}));
    const auto got = card.download(y);
    for (std::int64_t m = 0; m < rows; ++m) {
      for (std::int64_t j = 0; j < n; ++j) {
        std::int32_t expected = 0;
        for (std::int64_t i = 0; i < k; ++i) {
          expected +=
              x[static_cast<std::size_t>(m * k + i)] * w[static_cast<std::size_t>(j * k + i)];
        }
        ASSERT_EQ(got[static_cast<std::size_t>(m * n + j)], expected) << k << " " << m << " " << j;
      }
    }
  }
}

// What linear() relies on: rows of 16 bytes at multiples of 16, with any number of them.
TEST_F(BlasCuda, TakesWhatIsAligned) {
  CudaMachine card(1024);
  const cuda::CardMemory memory(card.queue().ordinal(), std::size_t{4} << 20);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const std::int64_t rows : {9, 16, 33, 100}) {
      for (const std::int64_t n : {1, 3, 64, 131}) {
        for (const std::int64_t ldy : {n, n + 1}) {
          EXPECT_TRUE(card.queue().blas().try_product(dtype, {.rows = rows,
                                                              .n = n,
                                                              .k = 64,
                                                              .x = memory.data(),
                                                              .w = memory.data() + (1 << 20),
                                                              .y = memory.data() + (2 << 20) + 4,
                                                              .ldy = ldy}))
              << to_string(dtype) << " " << rows << " " << n << " " << ldy;
        }
      }
    }
  }
  for (const std::int64_t rows : {16, 32, 208}) {
    for (const std::int64_t n : {16, 48, 144}) {
      EXPECT_TRUE(card.queue().blas().try_int8_product({.rows = rows,
                                                        .n = n,
                                                        .k = 48,
                                                        .x = memory.data(),
                                                        .w = memory.data() + (1 << 20),
                                                        .y = memory.data() + (2 << 20),
                                                        .ldy = n}))
          << rows << " " << n;
    }
  }
  card.queue().synchronize();
}

}  // namespace
}  // namespace shoehorn
