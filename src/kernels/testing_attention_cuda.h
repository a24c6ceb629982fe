// For the tests of attention on CUDA devices: a pass over some sequences, on the card and by the
// double-precision loops of the processor.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/attention.h"
#include "kernels/attention_cuda.h"
#include "kernels/cuda_test.h"
#include "kernels/kernel_test.h"
#include "kernels/kv_rows.h"
#include "kernels/rows_cuda.h"

namespace shoehorn::cuda_test {

using kernel_test::largest_difference;
using kernel_test::Machine;
using kernel_test::random_floats;

struct Span {
  std::int64_t rows;
  std::int64_t start;
};

enum class Bias { kNone, kFloat, kBf16 };

struct Case {
  std::vector<Span> sequences = {};
  std::int64_t heads = 6;
  std::int64_t kv_heads = 2;
  std::int64_t head_dim = 64;
  DType dtype = DType::kBF16;
  std::int64_t sliding_window = 0;
  float softcap = 0;
  std::int64_t most_positions = 0;  // beyond what the sequences have
  std::int64_t value_dim = 0;       // 0: head_dim
  Bias bias = Bias::kNone;
  bool sinks = false;

  std::int64_t value_width() const { return value_dim > 0 ? value_dim : head_dim; }
  std::int64_t rows() const {
    std::int64_t rows = 0;
    for (const Span& sequence : sequences) rows += sequence.rows;
    return rows;
  }
  // Without memory.
  KvCacheView cache(std::int64_t capacity) const {
    return {.dtype = dtype,
            .kv_heads = kv_heads,
            .capacity = capacity,
            .head_dim = head_dim,
            .value_dim = value_dim};
  }
  std::size_t value_bytes(std::int64_t capacity) const {
    return static_cast<std::size_t>(kv_heads * capacity) * kv_row_bytes(dtype, value_width());
  }
  std::vector<float> slopes() const {
    std::vector<float> slopes;
    for (std::int64_t h = 0; h < heads && bias != Bias::kNone; ++h) {
      slopes.push_back(0.7F / static_cast<float>(h % 8 + 1));
    }
    return slopes;
  }
  // Of about the size of scores, so that they take a share of few keys.
  std::vector<float> sink_scores() const {
    return sinks ? random_floats(heads, 4, 3.0F) : std::vector<float>{};
  }
  // `slopes` and `sinks` where attention is computed.
  AttentionParams params(std::span<const float> slopes, std::span<const float> sinks) const {
    const float unit = 1.0F / std::sqrt(static_cast<float>(head_dim));
    return {.heads = heads,
            .scale = unit,
            .sliding_window = sliding_window,
            .softcap = softcap,
            .alibi = {.slopes = slopes.empty() ? nullptr : slopes.data(),
                      .scale = bias == Bias::kBf16 ? unit : 1.0F,
                      .in_bf16 = bias == Bias::kBf16},
            .sinks = sinks.empty() ? nullptr : sinks.data()};
  }
};

inline std::string describe(const Case& c) {
  std::ostringstream text;
  text << to_string(c.dtype) << " heads " << c.heads << "/" << c.kv_heads << " of " << c.head_dim
       << ", values of " << c.value_width() << ", window " << c.sliding_window << ", softcap "
       << c.softcap << ", bias " << static_cast<int>(c.bias) << ", sinks " << c.sinks
       << ", rows after start:";
  for (const Span& sequence : c.sequences) text << " " << sequence.rows << "+" << sequence.start;
  return text.str();
}

// Normal numbers, drawn once: drawing them anew for every case would take longer than the cases.
inline std::vector<float> drawn(std::int64_t count, unsigned seed, float scale = 1.0F) {
  static const std::vector<float> all = random_floats(std::int64_t{1} << 20, 1);
  std::vector<float> values(static_cast<std::size_t>(count));
  std::size_t at = seed * std::size_t{7919};
  for (float& value : values) value = scale * all[at++ % all.size()];
  return values;
}

// What the cache holds before the pass, and the new rows.
struct Inputs {
  std::vector<float> q;
  std::vector<float> k;
  std::vector<float> v;
  std::vector<std::vector<float>> old_k;  // of each sequence, [start, kv_heads, head_dim]
  std::vector<std::vector<float>> old_v;

  explicit Inputs(const Case& c, float q_scale = 1.0F) {
    const std::int64_t kv_row = c.kv_heads * c.head_dim;
    const std::int64_t value_row = c.kv_heads * c.value_width();
    q = drawn(c.rows() * c.heads * c.head_dim, 1, q_scale);
    k = drawn(c.rows() * kv_row, 2);
    v = drawn(c.rows() * value_row, 3);
    for (std::size_t s = 0; s < c.sequences.size(); ++s) {
      const auto seed = static_cast<unsigned>(10 + 2 * s);
      old_k.push_back(drawn(c.sequences[s].start * kv_row, seed));
      old_v.push_back(drawn(c.sequences[s].start * value_row, seed + 1));
    }
  }
};

inline std::span<const float> rows_of(const std::vector<float>& all, std::int64_t first,
                                      std::int64_t count, std::int64_t width) {
  return std::span<const float>(all).subspan(static_cast<std::size_t>(first * width),
                                             static_cast<std::size_t>(count * width));
}

inline std::int64_t capacity_of(const Span& sequence) {
  return sequence.start + sequence.rows + 3;
}

// One sequence after another, by shoehorn::attention() on the processor.
inline std::vector<float> on_processor(const Case& c, const Inputs& in) {
  Machine ref(Isa::kRef, 2, std::size_t{64} << 20);
  std::vector<float> out(static_cast<std::size_t>(c.rows() * c.heads * c.value_width()));
  const std::vector<float> slopes = c.slopes();
  const std::vector<float> sinks = c.sink_scores();
  std::int64_t row = 0;
  for (std::size_t s = 0; s < c.sequences.size(); ++s) {
    const Span& sequence = c.sequences[s];
    KvCacheView cache = c.cache(capacity_of(sequence));
    std::vector<std::byte> keys(cache.bytes_each());
    std::vector<std::byte> values(c.value_bytes(cache.capacity));
    cache.keys = keys.data();
    cache.values = values.data();
    store_kv(in.old_k[s], in.old_v[s], 0, cache, ref.context());
    store_kv(rows_of(in.k, row, sequence.rows, c.kv_heads * c.head_dim),
             rows_of(in.v, row, sequence.rows, c.kv_heads * c.value_width()), sequence.start, cache,
             ref.context());
    const std::int64_t width = c.heads * c.value_width();
    attention(rows_of(in.q, row, sequence.rows, c.heads * c.head_dim), sequence.start, cache,
              c.params(slopes, sinks),
              std::span(out).subspan(static_cast<std::size_t>(row * width),
                                     static_cast<std::size_t>(sequence.rows * width)),
              ref.context());
    row += sequence.rows;
  }
  return out;
}

// The caches of all sequences on the card, and the tables that name them.
class CardCaches {
 public:
  CardCaches(const Case& c, const Inputs& in, CudaMachine& card) {
    std::int32_t row = 0;
    for (std::size_t s = 0; s < c.sequences.size(); ++s) {
      const Span& sequence = c.sequences[s];
      KvCacheView cache = c.cache(capacity_of(sequence));
      keys_.push_back(card.make<std::byte>(cache.bytes_each()));
      values_.push_back(card.make<std::byte>(c.value_bytes(cache.capacity)));
      cache.keys = keys_.back().data();
      cache.values = values_.back().data();
      const auto old_k = card.upload(in.old_k[s]);
      const auto old_v = card.upload(in.old_v[s]);
      store_kv(old_k, old_v, 0, cache, card.context());
      card.queue().synchronize();
      places_.push_back({.keys = cache.keys, .values = cache.values, .capacity = cache.capacity});
      spans_.push_back({.first_row = row,
                        .rows = static_cast<std::int32_t>(sequence.rows),
                        .start = static_cast<std::int32_t>(sequence.start)});
      row += static_cast<std::int32_t>(sequence.rows);
      most_rows_ = std::max(most_rows_, sequence.rows);
      most_positions_ = std::max(most_positions_, sequence.start + sequence.rows);
    }
  }

  const std::vector<cuda::KvPlace>& places() const { return places_; }
  const std::vector<cuda::SequenceRows>& spans() const { return spans_; }
  std::int64_t most_rows() const { return most_rows_; }
  std::int64_t most_positions() const { return most_positions_; }

  // Fails the test where a cache was written outside.
  void check_guards(CudaMachine& card) const {
    for (const auto& array : keys_) card.download(array);
    for (const auto& array : values_) card.download(array);
  }

 private:
  std::vector<CardArray<std::byte>> keys_;
  std::vector<CardArray<std::byte>> values_;
  std::vector<cuda::KvPlace> places_;
  std::vector<cuda::SequenceRows> spans_;
  std::int64_t most_rows_ = 0;
  std::int64_t most_positions_ = 0;
};

/// A pass on the card: what it needs there, and the job over it.
struct CardPass {
  CardPass(const Case& c, const Inputs& in, CudaMachine& card, std::size_t offset = 0)
      : caches(c, in, card),
        q(card.upload(in.q, offset)),
        k(card.upload(in.k, offset)),
        v(card.upload(in.v, offset)),
        out(card.make<float>(static_cast<std::size_t>(c.rows() * c.heads * c.value_width()),
                             offset)),
        sequences(card.upload(caches.spans())),
        slopes(card.upload(c.slopes())),
        sinks(card.upload(c.sink_scores())),
        places(card.upload(caches.places())),
        job{.q = q.data(),
            .k = k.data(),
            .v = v.data(),
            .out = out.data(),
            .sequences = sequences.data(),
            .places = places.data(),
            .sequence_count = static_cast<std::int64_t>(c.sequences.size()),
            .rows = c.rows(),
            .most_rows = caches.most_rows(),
            .most_positions = std::max(caches.most_positions(), c.most_positions),
            .dtype = c.dtype,
            .kv_heads = c.kv_heads,
            .head_dim = c.head_dim,
            .value_dim = c.value_width(),
            .params = c.params(slopes, sinks)} {}

  CardCaches caches;
  CardArray<float> q;
  CardArray<float> k;
  CardArray<float> v;
  CardArray<float> out;
  CardArray<cuda::SequenceRows> sequences;
  CardArray<float> slopes;
  CardArray<float> sinks;
  CardArray<cuda::KvPlace> places;
  cuda::AttentionJob job;
};

inline std::vector<float> on_card(const Case& c, const Inputs& in, CudaMachine& card,
                                  std::size_t offset = 0, bool in_place = false) {
  CardPass pass(c, in, card, offset);
  if (in_place) pass.job.out = pass.q.data();
  const cuda::AttentionJob& job = pass.job;
  cuda::store_kv(job, card.context());
  const std::size_t before = card.context().workspace.peak_bytes();
  cuda::attention(job, card.context());
  EXPECT_EQ(card.context().workspace.mark(), 0U);
  EXPECT_LE(card.context().workspace.peak_bytes(),
            std::max(before, cuda::attention_workspace_bytes(job.rows, job.sequence_count,
                                                             job.most_positions, c.heads,
                                                             c.value_width())));
  pass.caches.check_guards(card);
  return card.download(in_place ? pass.q : pass.out);
}

inline bool is_prefill(const Case& c) {
  for (const Span& sequence : c.sequences) {
    if (sequence.rows > 1) return true;
  }
  return false;
}

// Outputs are averages of values of size 1. In float32 an error of a few units in the last place,
// and exp2's two. Decode over 16 bits keeps queries and weights as two numbers of the cache's
// dtype: 16 bits of bfloat16, 22 of float16. Prefill over 16 bits rounds them to one: 2^-9 of a
// score of size 1 for bfloat16, 2^-12 for float16. Among thousands of outputs some are three or
// four standard deviations off, and few keys average less away.
// Biases in bfloat16 count from the first position: hundreds, of which a float keeps 2^-16.
inline double tolerance_of(const Case& c) {
  const auto fits = [](std::int64_t width) { return width % 8 == 0 && width <= 256; };
  const bool is_plain = c.dtype == DType::kF32 || c.dtype == DType::kI8 || !fits(c.head_dim) ||
                        !fits(c.value_width());
  if (c.bias == Bias::kBf16 && (is_plain || !is_prefill(c))) return 2e-4;
  if (is_plain) return 1e-5;
  if (is_prefill(c)) return c.dtype == DType::kBF16 ? 1.5e-2 : 2e-3;
  return c.dtype == DType::kBF16 ? 5e-5 : 1e-5;
}

inline void expect_like_ref(const Case& c, CudaMachine& card) {
  if (!is_chosen(31)) return;
  const Inputs in(c);
  EXPECT_LE(largest_difference(on_card(c, in, card), on_processor(c, in)), tolerance_of(c))
      << describe(c);
}

inline constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8};

}  // namespace shoehorn::cuda_test
