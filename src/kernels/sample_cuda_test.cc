// The largest logits of a row, chosen on a card, against a sort on the host.
#include "kernels/sample_cuda.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cuda_test.h"
#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using kernel_test::random_floats;
using kernel_test::same_bits;
using testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SampleCuda : public CudaTest {};

struct Found {
  std::vector<float> values;
  std::vector<std::int32_t> ids;
};

Found on_card(CudaMachine& card, const std::vector<float>& x, std::int64_t rows, std::int64_t k) {
  const auto count = static_cast<std::size_t>(rows * k);
  const auto width = static_cast<std::int64_t>(x.size()) / rows;
  const auto card_x = card.upload(x, 1);
  const auto values = card.make<float>(count);
  const auto ids = card.make<std::int32_t>(count);
  cuda::top_k(card_x.data(), rows, width, k, values.data(), ids.data(), card.context());
  EXPECT_EQ(card.context().workspace.mark(), 0U);
  EXPECT_LE(card.context().workspace.peak_bytes(), cuda::top_k_workspace_bytes(rows, width, k));
  return {card.download(values), card.download(ids)};
}

void expect_sorted_top(const std::vector<float>& x, std::int64_t rows, std::int64_t k) {
  CudaMachine card(std::size_t{64} << 20);
  const Found found = on_card(card, x, rows, k);
  const std::size_t width = x.size() / static_cast<std::size_t>(rows);
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row) {
    std::vector<std::int32_t> order(width);
    std::iota(order.begin(), order.end(), 0);
    const auto value = [&](std::int32_t id) {
      return x[row * width + static_cast<std::size_t>(id)];
    };
    std::erase_if(order, [&](std::int32_t id) { return std::isnan(value(id)); });
    std::stable_sort(order.begin(), order.end(),
                     [&](std::int32_t a, std::int32_t b) { return value(a) > value(b); });
    for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) {
      const std::size_t at = row * static_cast<std::size_t>(k) + i;
      const bool is_there = i < order.size();
      ASSERT_EQ(found.ids[at], is_there ? order[i] : -1) << "row " << row << ", place " << i;
      ASSERT_EQ(found.values[at], is_there ? value(order[i]) : -kInfinity);
    }
  }
}

TEST_F(SampleCuda, TopKOfEveryWidthIsTheHeadOfASort) {
  for (const std::int64_t width : {1, 5, 255, 256, 257, 4095, 4096, 4097, 32000, 128256}) {
    for (const std::int64_t k : {1, 2, 40, 255, 256}) {
      expect_sorted_top(random_floats(3 * width, 1, 5.0F), 3, k);
    }
  }
}

TEST_F(SampleCuda, OfEqualLogitsTheFirstAreTaken) {
  expect_sorted_top(std::vector<float>(18'000, -1.5F), 2, 200);
  std::vector<float> x = random_floats(20'000, 1);
  for (float& value : x) value = std::round(4 * value) / 4;  // some thirty values
  expect_sorted_top(x, 2, 256);
  expect_sorted_top(x, 1, 37);
}

TEST_F(SampleCuda, ZerosOfBothSignsAreEqual) {
  CudaMachine card(std::size_t{1} << 20);
  const Found found = on_card(card, {-1.0F, -0.0F, 0.0F, -0.0F, -2.0F}, 1, 4);
  EXPECT_THAT(found.ids, ElementsAre(1, 2, 3, 0));
}

TEST_F(SampleCuda, NanIsLeftOutAndInfinityIsNot) {
  std::vector<float> x = random_floats(10'000, 1);
  for (std::size_t i = 0; i < x.size(); i += 3) x[i] = NAN;
  x[5000] = kInfinity;
  x[5002] = -kInfinity;
  expect_sorted_top(x, 1, 100);
  std::vector<float> few(6000, NAN);
  few[17] = -kInfinity;
  few[5999] = 1.0F;
  expect_sorted_top(few, 1, 5);
  expect_sorted_top(std::vector<float>(100, NAN), 1, 3);
}

TEST_F(SampleCuda, PenaltiesGiveTheBitsOfTheHost) {
  CudaMachine card(std::size_t{1} << 20);
  const std::int64_t width = 1001;
  const auto x = random_floats(3 * width, 1, 4.0F);
  const std::vector<std::int32_t> ids = {5, 1000, 5, 7, 1001, -1, 0};
  const std::vector<cuda::PenalizedRow> rows = {{.first = 0, .count = 3, .penalty = 1.3F},
                                                {.first = 3, .count = 0, .penalty = 2.0F},
                                                {.first = 3, .count = 4, .penalty = 0.7F}};
  auto expected = x;
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::int64_t i = 0; i < rows[row].count; ++i) {
      const std::int32_t id = ids[static_cast<std::size_t>(rows[row].first + i)];
      if (id < 0 || id >= width) continue;
      const std::size_t at = row * static_cast<std::size_t>(width) + static_cast<std::size_t>(id);
      expected[at] = x[at] < 0 ? x[at] * rows[row].penalty : x[at] / rows[row].penalty;
    }
  }
  const auto card_x = card.upload(x);
  const auto card_rows = card.upload(rows);
  const auto card_ids = card.upload(ids);
  const auto out = card.make<float>(x.size());
  cuda::apply_repetition_penalty(card_x.data(), 3, width, card_rows.data(), card_ids.data(),
                                 out.data(), card.context());
  EXPECT_TRUE(same_bits(card.download(out), expected));
}

}  // namespace
}  // namespace shoehorn
