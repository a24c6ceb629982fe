#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/attention_paths.h"
#include "kernels/kernel_test.h"
#include "kernels/kv_rows.h"

namespace shoehorn {
namespace {

using kernel_test::isas;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

struct Case {
  std::int64_t queries;
  std::int64_t start;
  std::int64_t heads = 6;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 24;
  DType dtype = DType::kF32;
  std::int64_t sliding_window = 0;
  float softcap = 0;
  std::int64_t value_dim = 0;
  bool sinks = false;
  Alibi alibi = {};
};

std::string describe(const Case& c, Isa isa) {
  std::string text(to_string(isa));
  text += " " + std::string(to_string(c.dtype));
  for (const std::int64_t n :
       {c.queries, c.start, c.heads, c.kv_heads, c.head_dim, c.sliding_window}) {
    text += " " + std::to_string(n);
  }
  return text;
}

// A cache with room for a few positions more than are used.
class Cache {
 public:
  Cache(const Case& c, ExecContext& ctx) : view_{.dtype = c.dtype} {
    view_.kv_heads = c.kv_heads;
    view_.capacity = c.start + c.queries + 5;
    view_.head_dim = c.head_dim;
    view_.value_dim = c.value_dim;
    keys_ = HostBuffer(view_.bytes_each());
    const std::int64_t width = view_.value_width();
    values_ = HostBuffer(static_cast<std::size_t>(c.kv_heads * view_.capacity) *
                         kv_row_bytes(c.dtype, width));
    view_.keys = keys_.data();
    view_.values = values_.data();
    const std::int64_t rows = (c.start + c.queries) * c.kv_heads;
    store_kv(random_floats(rows * c.head_dim, 1), random_floats(rows * width, 2), 0, view_, ctx);
  }
  const KvCacheView& view() const { return view_; }

 private:
  HostBuffer keys_;
  HostBuffer values_;
  KvCacheView view_;
};

const std::vector<float> kSinks = {0.5F, -1.0F, 3.0F, 0.0F, 1.5F, -20.0F};
const std::vector<float> kSlopes = {0.5F, 0.25F, 0.125F, 0.0625F, 0.7071F, 0.3536F};

AttentionParams params_of(const Case& c) {
  return {.heads = c.heads,
          .scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim)),
          .sliding_window = c.sliding_window,
          .softcap = c.softcap,
          .alibi = c.alibi,
          .sinks = c.sinks ? kSinks.data() : nullptr};
}

std::vector<float> run(const Case& c, Isa isa, int threads = 2) {
  Machine machine(isa, threads,
                  attention_workspace_bytes(c.queries, c.start + c.queries, c.heads, c.kv_heads,
                                            std::max(c.head_dim, c.value_dim), threads));
  const Cache cache(c, machine.context());
  const auto q = random_floats(c.queries * c.heads * c.head_dim, 3);
  const std::int64_t out_row = c.heads * cache.view().value_width();
  std::vector<float> out(static_cast<std::size_t>(c.queries * out_row), -1e30F);
  attention(q, c.start, cache.view(), params_of(c), out, machine.context());
  EXPECT_EQ(machine.context().workspace.mark(), 0U);
  return out;
}

// Outputs are averages of values of size 1; a score's error of a few units in the last place of the
// products it sums moves them by as much again.
void expect_like_ref(const Case& c, double tolerance = 2e-6) {
  const auto expected = run(c, Isa::kRef);
  for (const Isa isa : isas()) {
    EXPECT_LE(kernel_test::largest_difference(run(c, isa), expected), tolerance)
        << describe(c, isa);
  }
}

TEST(Attention, RefAveragesTheValuesThatAQuerySees) {
  Machine machine(Isa::kRef);
  std::vector<float> keys = {0, 0, 0};
  std::vector<float> values = {1, 3, 100};
  const KvCacheView cache{.dtype = DType::kF32,
                          .keys = reinterpret_cast<std::byte*>(keys.data()),
                          .values = reinterpret_cast<std::byte*>(values.data()),
                          .kv_heads = 1,
                          .capacity = 3,
                          .head_dim = 1};
  const std::vector<float> q = {5, 5};
  std::vector<float> out(2);
  attention(q, 0, cache, {.heads = 1}, out, machine.context());
  EXPECT_THAT(out, testing::ElementsAre(1.0F, 2.0F));
}

TEST(Attention, RefWeighsByTheExponentOfTheScore) {
  Machine machine(Isa::kRef);
  std::vector<float> keys = {0, std::log(3.0F)};
  std::vector<float> values = {0, 1};
  const KvCacheView cache{.dtype = DType::kF32,
                          .keys = reinterpret_cast<std::byte*>(keys.data()),
                          .values = reinterpret_cast<std::byte*>(values.data()),
                          .kv_heads = 1,
                          .capacity = 2,
                          .head_dim = 1};
  const std::vector<float> q = {2};
  std::vector<float> out(1);
  attention(q, 1, cache, {.heads = 1, .scale = 0.5F}, out, machine.context());
  EXPECT_FLOAT_EQ(out[0], 0.75F);
}

TEST(Attention, OneQueryOverEveryLengthAgreesWithRef) {
  for (std::int64_t start = 0; start <= 140; ++start) expect_like_ref({1, start});
}

TEST(Attention, LongContextsAreSplitAndJoined) {
  for (const std::int64_t start : {255, 256, 257, 511, 900}) {
    expect_like_ref({1, start});
    expect_like_ref({7, start});
  }
}

TEST(Attention, EveryNumberOfQueriesAgreesWithRef) {
  for (std::int64_t queries = 0; queries <= 70; ++queries) expect_like_ref({queries, 0});
}

TEST(Attention, ChunksAfterAPrefixAgreeWithRef) {
  for (const std::int64_t start : {1, 63, 64, 65, 200}) {
    for (const std::int64_t queries : {31, 32, 33, 100}) expect_like_ref({queries, start});
  }
}

TEST(Attention, EveryHeadWidthAgreesWithRef) {
  for (std::int64_t head_dim = 1; head_dim <= 70; ++head_dim) {
    expect_like_ref({.queries = 3, .start = 20, .head_dim = head_dim});
  }
  expect_like_ref({.queries = 3, .start = 20, .head_dim = 128});
}

TEST(Attention, EveryGroupSizeAgreesWithRef) {
  for (const std::int64_t kv_heads : {1, 2, 3, 12, 120}) {
    expect_like_ref({.queries = 2, .start = 70, .heads = 120, .kv_heads = kv_heads, .head_dim = 8});
  }
}

TEST(Attention, SixteenBitCachesAgreeWithRef) {
  for (const DType dtype : {DType::kF16, DType::kBF16}) {
    expect_like_ref({.queries = 1, .start = 300, .dtype = dtype});
    expect_like_ref({.queries = 40, .start = 30, .dtype = dtype});
  }
}

TEST(Attention, CachesOfInt8AgreeWithRef) {
  expect_like_ref({.queries = 1, .start = 300, .dtype = DType::kI8});
  expect_like_ref({.queries = 40, .start = 30, .head_dim = 23, .dtype = DType::kI8});
}

TEST(Attention, SlidingWindowsHideOlderKeys) {
  for (const std::int64_t window : {1, 2, 63, 64, 65, 100, 1000}) {
    expect_like_ref({.queries = 1, .start = 600, .sliding_window = window});
    expect_like_ref({.queries = 90, .start = 70, .sliding_window = window});
  }
}

TEST(Attention, AWindowOfOneIsTheKeyItself) {
  for (const Isa isa : isas()) {
    const Case c{
        .queries = 3, .start = 5, .heads = 1, .kv_heads = 1, .head_dim = 4, .sliding_window = 1};
    const auto values = random_floats(8 * 4, 2);
    const auto out = run(c, isa);
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_FLOAT_EQ(out[i], values[5 * 4 + i]) << to_string(isa);
    }
  }
}

TEST(Attention, SoftCapsAgreeWithRef) {
  expect_like_ref({.queries = 1, .start = 100, .softcap = 0.7F});
  expect_like_ref({.queries = 70, .start = 0, .softcap = 50.0F}, 1e-5);
}

TEST(Attention, RefLetsASinkTakeItsShareOfTheSoftmax) {
  Machine machine(Isa::kRef);
  std::vector<float> keys = {0, 0};
  std::vector<float> values = {3, 5};
  const KvCacheView cache{.dtype = DType::kF32,
                          .keys = reinterpret_cast<std::byte*>(keys.data()),
                          .values = reinterpret_cast<std::byte*>(values.data()),
                          .kv_heads = 1,
                          .capacity = 2,
                          .head_dim = 1};
  const std::vector<float> q = {7};
  const float sink = std::log(2.0F);  // as much as both keys together
  std::vector<float> out(1);
  attention(q, 1, cache, {.heads = 1, .sinks = &sink}, out, machine.context());
  EXPECT_FLOAT_EQ(out[0], 2.0F);
}

TEST(Attention, SinksAgreeWithRef) {
  for (const std::int64_t start : {0, 63, 64, 300, 900}) {
    expect_like_ref({.queries = 1, .start = start, .sinks = true});
    expect_like_ref({.queries = 40, .start = start, .sinks = true});
    expect_like_ref({.queries = 3, .start = start, .sliding_window = 5, .sinks = true});
  }
}

TEST(Attention, RefAddsSlopeTimesDistance) {
  Machine machine(Isa::kRef);
  std::vector<float> keys = {0, 0};
  std::vector<float> values = {0, 1};
  const KvCacheView cache{.dtype = DType::kF32,
                          .keys = reinterpret_cast<std::byte*>(keys.data()),
                          .values = reinterpret_cast<std::byte*>(values.data()),
                          .kv_heads = 1,
                          .capacity = 2,
                          .head_dim = 1};
  const std::vector<float> q = {7};
  const float slope = std::log(3.0F);  // the nearer key weighs three times as much
  std::vector<float> out(1);
  attention(q, 1, cache, {.heads = 1, .alibi = {.slopes = &slope}}, out, machine.context());
  EXPECT_FLOAT_EQ(out[0], 0.75F);
}

TEST(Attention, Bfloat16BiasesRoundSlopeAndProduct) {
  const float slope = 0.7071F;  // 0.70703125 in bfloat16
  const Alibi alibi{.slopes = &slope, .scale = 0.5F, .in_bf16 = true};
  EXPECT_EQ(alibi_bias(alibi, 0, 3, -1), 0.5F * 2.125F);  // of 2.12109375
}

TEST(Attention, BiasesAgreeWithRef) {
  for (const bool in_bf16 : {false, true}) {
    const Alibi alibi{.slopes = kSlopes.data(), .scale = 0.3F, .in_bf16 = in_bf16};
    for (const std::int64_t start : {0, 63, 300, 900}) {
      expect_like_ref({.queries = 1, .start = start, .alibi = alibi}, 1e-5);
      expect_like_ref({.queries = 40, .start = start, .alibi = alibi}, 1e-5);
    }
  }
}

TEST(Attention, ValuesMayBeNarrowerOrWiderThanKeys) {
  for (const std::int64_t value_dim : {1, 8, 16, 23, 24, 40}) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      expect_like_ref({.queries = 1, .start = 300, .dtype = dtype, .value_dim = value_dim});
      expect_like_ref({.queries = 40, .start = 7, .dtype = dtype, .value_dim = value_dim});
    }
  }
}

TEST(Attention, LargeScoresDoNotOverflow) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    const Case c{.queries = 2, .start = 100};
    const Cache cache(c, machine.context());
    auto q = random_floats(c.queries * c.heads * c.head_dim, 3, 1e4F);
    AttentionParams params = params_of(c);
    params.scale = 10.0F;
    attention(q, c.start, cache.view(), params, q, machine.context());
    for (const float value : q) EXPECT_TRUE(std::isfinite(value)) << to_string(isa);
  }
}

TEST(Attention, ResultDoesNotDependOnThreads) {
  for (const Isa isa : isas()) {
    for (const Case& c : {Case{1, 1000}, Case{200, 100}, Case{5, 700}}) {
      EXPECT_TRUE(same_bits(run(c, isa, 1), run(c, isa, 3))) << describe(c, isa);
    }
  }
}

TEST(Attention, OutMayBeTheQueries) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    const Case c{.queries = 40, .start = 7};
    const Cache cache(c, machine.context());
    auto q = random_floats(c.queries * c.heads * c.head_dim, 3);
    attention(q, c.start, cache.view(), params_of(c), q, machine.context());
    EXPECT_TRUE(same_bits(q, run(c, isa))) << to_string(isa);
  }
}

TEST(Attention, RefusesHeadsThatDoNotShareEvenly) {
  Machine machine(Isa::kRef);
  const Case c{.queries = 1, .start = 0};
  const Cache cache(c, machine.context());
  std::vector<float> q(5 * 24);
  EXPECT_THROW(attention(q, 0, cache.view(), {.heads = 5}, q, machine.context()), ArgumentError);
}

TEST(Attention, RefusesPositionsBeyondTheCache) {
  Machine machine(Isa::kRef);
  const Case c{.queries = 1, .start = 0};  // room for 6
  const Cache cache(c, machine.context());
  std::vector<float> q(2 * 6 * 24);
  EXPECT_THROW(attention(q, 5, cache.view(), params_of(c), q, machine.context()), ArgumentError);
  EXPECT_THROW(attention(q, -1, cache.view(), params_of(c), q, machine.context()), ArgumentError);
}

TEST(StoreKv, WritesRowsHeadByHeadAtTheirPositions) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    std::vector<float> keys(2 * 4 * 1, 0.0F);  // [2 heads, 4 positions, 1]
    std::vector<float> values(keys);
    const KvCacheView cache{.dtype = DType::kF32,
                            .keys = reinterpret_cast<std::byte*>(keys.data()),
                            .values = reinterpret_cast<std::byte*>(values.data()),
                            .kv_heads = 2,
                            .capacity = 4,
                            .head_dim = 1};
    const std::vector<float> k = {1, 2, 3, 4};  // [2 tokens, 2 heads, 1]
    const std::vector<float> v = {5, 6, 7, 8};
    store_kv(k, v, 1, cache, machine.context());
    EXPECT_THAT(keys, testing::ElementsAre(0, 1, 3, 0, 0, 2, 4, 0)) << to_string(isa);
    EXPECT_THAT(values, testing::ElementsAre(0, 5, 7, 0, 0, 6, 8, 0)) << to_string(isa);
  }
}

TEST(StoreKv, RefusesMoreThanThereIsRoomFor) {
  Machine machine(Isa::kRef);
  const Case c{.queries = 1, .start = 0};  // room for 6
  const Cache cache(c, machine.context());
  const std::vector<float> k(4 * 2 * 24);
  EXPECT_THROW(store_kv(k, k, 3, cache.view(), machine.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
