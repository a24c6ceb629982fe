#include "checkpoint/synthetic_values.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "tensor/half.h"

namespace shoehorn {
namespace {

const SyntheticRecipe kPlain{.deviation = 0.5F};
const SyntheticRecipe kColumns{.deviation = 0.5F, .columns = {0, 3, 9}, .column_scale = 0.25F};
const SyntheticRecipe kNorm{.mean = 1, .deviation = 0.125F, .columns = {3}, .column_scale = 16};

TensorInfo tensor(DType dtype, const Shape& shape) {
  TensorInfo info;
  info.name = "w";
  info.dtype = dtype;
  info.shape = shape;
  info.bytes = packed_bytes(dtype, shape.elements()).value();
  return info;
}

std::vector<std::byte> read(const TensorInfo& info, const SyntheticRecipe& recipe,
                            std::uint64_t seed = 1) {
  std::vector<std::byte> bytes(info.bytes);
  SyntheticValues(seed, {{"w", recipe}}).read_at(info, 0, bytes);
  return bytes;
}

std::vector<float> read_floats(const Shape& shape, const SyntheticRecipe& recipe,
                               std::uint64_t seed = 1) {
  const std::vector<std::byte> bytes = read(tensor(DType::kF32, shape), recipe, seed);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(SyntheticValues, AnyRangeHasTheSameBytes) {
  // 11 columns: rows and blocks of 32 values end at different places.
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const SyntheticRecipe& recipe : {kPlain, kColumns, kNorm}) {
      const TensorInfo info = tensor(dtype, {19, 11});
      const SyntheticValues values(7, {{"w", recipe}});
      const std::vector<std::byte> want = read(info, recipe, 7);
      for (std::size_t begin = 0; begin <= want.size(); begin += 5) {
        for (std::size_t end = begin; end <= want.size(); end += 7) {
          std::vector<std::byte> part(end - begin);
          values.read_at(info, begin, part);
          ASSERT_TRUE(std::equal(part.begin(), part.end(),
                                 want.begin() + static_cast<std::ptrdiff_t>(begin)))
              << to_string(dtype) << " " << begin << " to " << end;
        }
      }
    }
  }
}

TEST(SyntheticValues, SixteenBitsAreTheFloatsRounded) {
  for (const SyntheticRecipe& recipe : {kPlain, kColumns, kNorm}) {
    const std::vector<float> floats = read_floats({40, 33}, recipe);
    const std::vector<std::byte> bf16 = read(tensor(DType::kBF16, {40, 33}), recipe);
    const std::vector<std::byte> f16 = read(tensor(DType::kF16, {40, 33}), recipe);
    for (std::size_t i = 0; i < floats.size(); ++i) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bf16.data() + 2 * i, 2);
      ASSERT_EQ(bits, f32_to_bf16(floats[i])) << i;
      std::memcpy(&bits, f16.data() + 2 * i, 2);
      ASSERT_EQ(bits, f32_to_f16(floats[i])) << i;
    }
  }
}

TEST(SyntheticValues, AreAboutNormal) {
  const std::vector<float> values = read_floats({1000, 1000}, kPlain);
  double sum = 0;
  double squares = 0;
  double fourth = 0;
  for (const float value : values) {
    const double z = value / 0.5;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0, 0.005);      // five of its standard errors
  EXPECT_NEAR(squares / n, 1, 0.05);   // the pool's 8,224 draws: five of theirs
  EXPECT_NEAR(fourth / n, 2.9, 0.35);  // 3 for a normal, 2.9 for twelve uniform numbers
}

TEST(SyntheticValues, RowsAreUncorrelated) {
  constexpr std::int64_t kRows = 64;
  constexpr std::int64_t kWidth = 4096;
  const std::vector<float> values = read_floats({kRows, kWidth}, kPlain);
  for (std::int64_t a = 0; a < kRows; ++a) {
    for (std::int64_t b = 0; b < a; ++b) {
      double product = 0;
      for (std::int64_t i = 0; i < kWidth; ++i) {
        product += 4.0 * values[static_cast<std::size_t>(a * kWidth + i)] *
                   values[static_cast<std::size_t>(b * kWidth + i)];
      }
      // 2,016 pairs, each with a deviation of sqrt(4096).
      EXPECT_LT(std::abs(product), 6.5 * 64) << a << " and " << b;
    }
  }
}

TEST(SyntheticValues, ColumnsAreScaled) {
  const std::vector<float> plain = read_floats({5, 11}, kPlain);
  const std::vector<float> scaled = read_floats({5, 11}, kColumns);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    const bool chosen = i % 11 == 0 || i % 11 == 3 || i % 11 == 9;
    EXPECT_EQ(scaled[i], chosen ? plain[i] * 0.25F : plain[i]) << i;
  }
}

TEST(SyntheticValues, NormsAreNearOne) {
  const std::vector<float> values = read_floats({4096}, kNorm);
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) sum += i == 3 ? 1 : values[i];
  EXPECT_NEAR(sum / 4096, 1, 0.01);
  EXPECT_GT(values[3], 6);
}

TEST(SyntheticValues, SeedsAndNamesDiffer) {
  const TensorInfo info = tensor(DType::kF32, {32});
  EXPECT_NE(read(info, kPlain, 1), read(info, kPlain, 2));
  TensorInfo other = info;
  other.name = "v";
  const SyntheticValues values(1, {{"w", kPlain}, {"v", kPlain}});
  std::vector<std::byte> w(info.bytes);
  std::vector<std::byte> v(info.bytes);
  values.read_at(info, 0, w);
  values.read_at(other, 0, v);
  EXPECT_NE(w, v);
}

TEST(SyntheticValues, IdentityTellsSeedsAndRecipesApart) {
  const TensorInfo info = tensor(DType::kF32, {32});
  const auto identity = [&](std::uint64_t seed, const SyntheticRecipe& recipe) {
    return SyntheticValues(seed, {{"w", recipe}}).identity(info);
  };
  EXPECT_EQ(identity(1, kPlain), identity(1, kPlain));
  EXPECT_NE(identity(1, kPlain), identity(2, kPlain));
  EXPECT_NE(identity(1, kPlain), identity(1, kColumns));
  EXPECT_NE(identity(1, kPlain), identity(1, {.deviation = std::nextafter(0.5F, 1.0F)}));
}

TEST(SyntheticValues, AreTheSameOnEveryMachine) {
  // Recorded when the generator was written; another value here means that kVersion has to change.
  const std::vector<float> values = read_floats({2, 33}, kPlain);
  std::uint32_t hash = 0;
  for (const float value : values) hash = hash * 31 + std::bit_cast<std::uint32_t>(value);
  EXPECT_EQ(hash, 817825681U);
}

TEST(SyntheticValues, RefusesTypesThatAreNoFloats) {
  EXPECT_THROW(read(tensor(DType::kI8, {32}), kPlain), UnsupportedError);
}

}  // namespace
}  // namespace shoehorn
