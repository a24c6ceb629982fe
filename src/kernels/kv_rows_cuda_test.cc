// Keys and values on their way to the caches of a card, turned or not.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/attention.h"
#include "kernels/attention_cuda.h"
#include "kernels/decode_row.h"
#include "kernels/kv_rows.h"
#include "kernels/rows_cuda.h"
#include "kernels/testing_attention_cuda.h"

namespace shoehorn {
namespace {

using cuda_test::CardPass;
using cuda_test::Case;
using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using cuda_test::Inputs;
using cuda_test::kDTypes;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

class KvRowsCuda : public CudaTest {};

TEST_F(KvRowsCuda, StoredKeysAndValuesAreThoseOfTheProcessor) {
  CudaMachine card;
  Machine ref(Isa::kRef);
  for (const DType dtype : kDTypes) {
    for (const std::int64_t head_dim : {1, 6, 8, 20, 128}) {
      for (const std::size_t offset : {0, 1}) {
        const std::int64_t value_dim = head_dim % 3 == 2 ? head_dim + 4 : head_dim;
        KvCacheView cache{.dtype = dtype,
                          .kv_heads = 5,
                          .capacity = 11,
                          .head_dim = head_dim,
                          .value_dim = value_dim};
        std::vector<std::byte> keys(cache.bytes_each(), std::byte{0xAB});
        std::vector<std::byte> values(5 * 11 * kv_row_bytes(dtype, value_dim), std::byte{0xAB});
        cache.keys = keys.data();
        cache.values = values.data();
        const auto k = random_floats(7 * 5 * head_dim, 1, 100.0F);
        const auto v = random_floats(7 * 5 * value_dim, 2, 1e-6F);
        store_kv(k, v, 3, cache, ref.context());
        const auto card_keys = card.make<std::byte>(keys.size());
        const auto card_values = card.make<std::byte>(values.size());
        cache.keys = card_keys.data();
        cache.values = card_values.data();
        store_kv(card.upload(k, offset), card.upload(v, offset), 3, cache, card.context());
        EXPECT_EQ(card.download(card_keys), keys) << to_string(dtype) << " " << head_dim;
        EXPECT_EQ(card.download(card_values), values) << to_string(dtype) << " " << head_dim;
      }
    }
  }
}

TEST_F(KvRowsCuda, RowsWithoutAScaleAreStoredAsOnTheProcessor) {
  CudaMachine card;
  Machine ref(Isa::kRef);
  const std::int64_t width = 37;
  // Zeros, too small for a scale, the smallest with one, ties, an infinity, a NaN, and the largest.
  std::vector<float> rows(7 * width, 0.0F);
  const auto row = [&](std::int64_t i) { return rows.begin() + i * width; };
  std::fill_n(row(1), width, 1e-37F);
  std::fill_n(row(2), width, 1.6e-36F);
  for (std::int64_t i = 0; i < width; ++i) row(3)[i] = static_cast<float>(i) + 0.5F;
  row(3)[0] = 127.0F;
  row(4)[36] = -INFINITY;
  row(5)[1] = NAN;
  std::fill_n(row(6), width, -1e38F);
  KvCacheView cache{.dtype = DType::kI8, .kv_heads = 1, .capacity = 7, .head_dim = width};
  std::vector<std::byte> keys(cache.bytes_each());
  std::vector<std::byte> values(cache.bytes_each());
  cache.keys = keys.data();
  cache.values = values.data();
  store_kv(rows, rows, 0, cache, ref.context());
  const auto card_keys = card.make<std::byte>(keys.size());
  const auto card_values = card.make<std::byte>(values.size());
  cache.keys = card_keys.data();
  cache.values = card_values.data();
  const auto card_rows = card.upload(rows);
  store_kv(card_rows, card_rows, 0, cache, card.context());
  EXPECT_EQ(card.download(card_keys), keys);
  EXPECT_EQ(card.download(card_values), values);
}

// Two passes over the same inputs: rotation, storing and attention apart, and the first two at
// once.
TEST_F(KvRowsCuda, TurningOnTheWayToTheCacheIsTurningBefore) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t head_dim : {2, 20, 64, 128}) {
      for (const std::int64_t rotary_dim : {head_dim, head_dim / 4 * 2}) {
        const Case c{.sequences = {{1, 4}, {3, 0}, {1, 9}},
                     .head_dim = head_dim,
                     .dtype = dtype,
                     .value_dim = head_dim == 64 ? 48 : 0};
        const Inputs in(c);
        const auto cos = card.upload(random_floats(c.rows() * rotary_dim / 2, 7));
        const auto sin = card.upload(random_floats(c.rows() * rotary_dim / 2, 8));
        std::vector<std::vector<float>> outs;
        std::vector<std::vector<float>> queries;
        for (const bool at_once : {false, true}) {
          const CardPass pass(c, in, card);
          if (at_once) {
            cuda::rotate_halves_and_store(pass.job, pass.q.data(), cos.data(), sin.data(),
                                          rotary_dim, card.context());
          } else {
            const RotaryShape shape{
                .rows = c.rows(), .heads = c.heads, .head_dim = head_dim, .rotary_dim = rotary_dim};
            RotaryShape of_keys = shape;
            of_keys.heads = c.kv_heads;
            cuda::apply_rotary_halves(pass.q, shape, cos, sin, card.context());
            cuda::apply_rotary_halves(pass.k, of_keys, cos, sin, card.context());
            cuda::store_kv(pass.job, card.context());
          }
          cuda::attention(pass.job, card.context());
          pass.caches.check_guards(card);
          outs.push_back(card.download(pass.out));
          queries.push_back(card.download(pass.q));
        }
        EXPECT_TRUE(same_bits(outs[0], outs[1])) << to_string(dtype) << " " << head_dim;
        EXPECT_TRUE(same_bits(queries[0], queries[1])) << to_string(dtype) << " " << head_dim;
      }
    }
  }
}

TEST_F(KvRowsCuda, FrontDoorsRefuseWhatTheProcessorRefuses) {
  CudaMachine card;
  const auto memory = card.make<std::byte>(2 * 6 * 24 * 4);
  const KvCacheView cache{.dtype = DType::kF32,
                          .keys = memory.data(),
                          .values = memory.data(),
                          .kv_heads = 2,
                          .capacity = 6,
                          .head_dim = 24};
  const auto q = card.make<float>(2 * 6 * 24);
  EXPECT_THROW(attention(q, 5, cache, {.heads = 6}, q, card.context()), ArgumentError);
  EXPECT_THROW(attention(q, 0, cache, {.heads = 5}, q, card.context()), ArgumentError);
  EXPECT_THROW(store_kv(q, q, 3, cache, card.context()), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
