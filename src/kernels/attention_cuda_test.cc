// Attention on a card against the double-precision loops of the processor.
#include "kernels/attention_cuda.h"

#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "cuda/graph.h"
#include "kernels/attention.h"
#include "kernels/cuda_test.h"
#include "kernels/decode_row.h"
#include "kernels/kernel_test.h"
#include "kernels/kv_rows.h"
#include "kernels/rows_cuda.h"

namespace shoehorn {
namespace {

using cuda_test::CardArray;
using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

class AttentionCuda : public CudaTest {};

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

std::string describe(const Case& c) {
  std::ostringstream text;
  text << to_string(c.dtype) << " heads " << c.heads << "/" << c.kv_heads << " of " << c.head_dim
       << ", values of " << c.value_width() << ", window " << c.sliding_window << ", softcap "
       << c.softcap << ", bias " << static_cast<int>(c.bias) << ", sinks " << c.sinks
       << ", rows after start:";
  for (const Span& sequence : c.sequences) text << " " << sequence.rows << "+" << sequence.start;
  return text.str();
}

// Normal numbers, drawn once: drawing them anew for every case would take longer than the cases.
std::vector<float> drawn(std::int64_t count, unsigned seed, float scale = 1.0F) {
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

std::span<const float> rows_of(const std::vector<float>& all, std::int64_t first,
                               std::int64_t count, std::int64_t width) {
  return std::span<const float>(all).subspan(static_cast<std::size_t>(first * width),
                                             static_cast<std::size_t>(count * width));
}

std::int64_t capacity_of(const Span& sequence) {
  return sequence.start + sequence.rows + 3;
}

// One sequence after another, by shoehorn::attention() on the processor.
std::vector<float> on_processor(const Case& c, const Inputs& in) {
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

std::vector<float> on_card(const Case& c, const Inputs& in, CudaMachine& card,
                           std::size_t offset = 0, bool in_place = false) {
  const CardCaches caches(c, in, card);
  const auto q = card.upload(in.q, offset);
  const auto k = card.upload(in.k, offset);
  const auto v = card.upload(in.v, offset);
  const auto out =
      card.make<float>(static_cast<std::size_t>(c.rows() * c.heads * c.value_width()), offset);
  const auto slopes = card.upload(c.slopes());
  const auto sinks = card.upload(c.sink_scores());
  const auto sequences = card.upload(caches.spans());
  const auto places = card.upload(caches.places());
  const cuda::AttentionJob job{
      .q = q.data(),
      .k = k.data(),
      .v = v.data(),
      .out = in_place ? q.data() : out.data(),
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
      .params = c.params(slopes, sinks)};
  cuda::store_kv(job, card.context());
  const std::size_t before = card.context().workspace.peak_bytes();
  cuda::attention(job, card.context());
  EXPECT_EQ(card.context().workspace.mark(), 0U);
  EXPECT_LE(card.context().workspace.peak_bytes(),
            std::max(before, cuda::attention_workspace_bytes(job.rows, job.sequence_count,
                                                             job.most_positions, c.heads,
                                                             c.value_width())));
  caches.check_guards(card);
  return card.download(in_place ? q : out);
}

bool is_prefill(const Case& c) {
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
double tolerance_of(const Case& c) {
  const auto fits = [](std::int64_t width) { return width % 8 == 0 && width <= 256; };
  const bool is_plain = c.dtype == DType::kF32 || c.dtype == DType::kI8 || !fits(c.head_dim) ||
                        !fits(c.value_width());
  if (c.bias == Bias::kBf16 && (is_plain || !is_prefill(c))) return 2e-4;
  if (is_plain) return 1e-5;
  if (is_prefill(c)) return c.dtype == DType::kBF16 ? 1.5e-2 : 2e-3;
  return c.dtype == DType::kBF16 ? 5e-5 : 1e-5;
}

void expect_like_ref(const Case& c, CudaMachine& card, std::size_t offset = 0) {
  const Inputs in(c);
  const auto expected = on_processor(c, in);
  EXPECT_LE(kernel_test::largest_difference(on_card(c, in, card, offset), expected),
            tolerance_of(c))
      << describe(c);
}

constexpr DType kDTypes[] = {DType::kF32, DType::kF16, DType::kBF16, DType::kI8};

// What every kernel and the join of its parts are to be seen with.
const std::vector<std::vector<Span>> kPasses = {{{1, 0}},
                                                {{1, 37}},
                                                {{1, 2000}},
                                                {{1, 0}, {1, 700}, {1, 3}, {1, 64}},
                                                {{70, 0}},
                                                {{40, 200}},
                                                {{5, 0}, {1, 500}, {30, 3}, {13, 130}}};

TEST_F(AttentionCuda, OneRowOverEveryLengthAgreesWithRef) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (std::int64_t start = 0; start <= 140; ++start) {
      expect_like_ref({.sequences = {{1, start}}, .dtype = dtype}, card);
    }
    for (const std::int64_t start : {511, 512, 1000, 5000}) {
      expect_like_ref({.sequences = {{1, start}}, .dtype = dtype}, card);
    }
  }
}

TEST_F(AttentionCuda, EveryNumberOfRowsAgreesWithRef) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (std::int64_t rows = 2; rows <= 70; ++rows) {
      expect_like_ref({.sequences = {{rows, 0}}, .dtype = dtype}, card);
    }
    for (const std::int64_t start : {1, 63, 64, 65, 200}) {
      for (const std::int64_t rows : {2, 31, 43, 100, 129, 300}) {
        expect_like_ref({.sequences = {{rows, start}}, .dtype = dtype}, card);
      }
    }
  }
}

TEST_F(AttentionCuda, EveryHeadWidthAgreesWithRef) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t head_dim :
         {1,  2,   7,   8,   16,  24,  31,  32,  40,  56,  64,  72,  80,  88,
          96, 104, 112, 120, 128, 136, 160, 192, 248, 256, 257, 264, 320, 576}) {
      for (const std::int64_t rows : {1, 50}) {
        expect_like_ref({.sequences = {{rows, 75}}, .head_dim = head_dim, .dtype = dtype}, card);
      }
    }
  }
}

TEST_F(AttentionCuda, EveryGroupSizeAgreesWithRef) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t group : {1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 32, 40}) {
      for (const std::int64_t head_dim : {64, 128, 256}) {
        for (const std::int64_t rows : {1, 9}) {
          expect_like_ref({.sequences = {{rows, 100}},
                           .heads = 3 * group,
                           .kv_heads = 3,
                           .head_dim = head_dim,
                           .dtype = dtype},
                          card);
        }
      }
    }
  }
}

TEST_F(AttentionCuda, SlidingWindowsHideOlderKeys) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t window : {1, 2, 15, 16, 63, 64, 65, 100, 1000}) {
      for (const Span& sequence : {Span{1, 600}, Span{1, 30}, Span{90, 70}, Span{200, 300}}) {
        expect_like_ref({.sequences = {sequence}, .dtype = dtype, .sliding_window = window}, card);
      }
    }
  }
}

TEST_F(AttentionCuda, SoftCapsAgreeWithRef) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const float softcap : {0.7F, 50.0F}) {
      for (const std::int64_t rows : {1, 70}) {
        expect_like_ref({.sequences = {{rows, 100}}, .dtype = dtype, .softcap = softcap}, card);
      }
    }
  }
}

// All passes, with and without a window, with heads that share keys and heads of their own.
void expect_passes_like_ref(Case c, CudaMachine& card) {
  struct Sharing {
    std::int64_t heads;
    std::int64_t kv_heads;
    std::int64_t sliding_window;
  };
  for (const std::vector<Span>& sequences : kPasses) {
    for (const Sharing& sharing : {Sharing{6, 2, 0}, Sharing{12, 1, 90}, Sharing{5, 5, 0}}) {
      c.sequences = sequences;
      c.heads = sharing.heads;
      c.kv_heads = sharing.kv_heads;
      c.sliding_window = sharing.sliding_window;
      expect_like_ref(c, card);
    }
  }
}

TEST_F(AttentionCuda, LinearBiasesAgreeWithRef) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const Bias bias : {Bias::kFloat, Bias::kBf16}) {
      for (const std::int64_t head_dim : {20, 64, 128, 192}) {
        expect_passes_like_ref({.head_dim = head_dim, .dtype = dtype, .bias = bias}, card);
      }
      expect_passes_like_ref({.dtype = dtype, .softcap = 5, .bias = bias}, card);
    }
  }
}

TEST_F(AttentionCuda, SinksTakeTheirShare) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t head_dim : {20, 64, 128, 192}) {
      expect_passes_like_ref({.head_dim = head_dim, .dtype = dtype, .sinks = true}, card);
    }
    expect_passes_like_ref({.dtype = dtype, .softcap = 5, .bias = Bias::kFloat, .sinks = true},
                           card);
  }
}

TEST_F(AttentionCuda, SinksFarFromTheScoresAgreeWithRef) {
  CudaMachine card;
  Machine ref(Isa::kRef);
  const std::int64_t d = 64;
  for (const std::int64_t rows : {1, 20}) {
    KvCacheView cache{.dtype = DType::kF16, .kv_heads = 1, .capacity = 30, .head_dim = d};
    std::vector<std::byte> keys(cache.bytes_each());
    std::vector<std::byte> values(cache.bytes_each());
    cache.keys = keys.data();
    cache.values = values.data();
    store_kv(random_floats(30 * d, 1), random_floats(30 * d, 2), 0, cache, ref.context());
    const auto q = random_floats(rows * 3 * d, 3);
    const std::vector<float> sinks = {-INFINITY, -1e30F, 1e30F};
    AttentionParams params{.heads = 3, .scale = 0.125F, .sinks = sinks.data()};
    std::vector<float> expected(q.size());
    attention(q, 5, cache, params, expected, ref.context());
    const auto card_keys = card.upload(keys);
    const auto card_values = card.upload(values);
    cache.keys = card_keys.data();
    cache.values = card_values.data();
    const auto card_q = card.upload(q);
    const auto card_sinks = card.upload(sinks);
    params.sinks = card_sinks.data();
    attention(card_q, 5, cache, params, card_q, card.context());
    EXPECT_LE(kernel_test::largest_difference(card.download(card_q), expected), 2e-3) << rows;
  }
}

TEST_F(AttentionCuda, ValuesOfAnotherWidthAgreeWithRef) {
  struct Widths {
    std::int64_t head_dim;
    std::int64_t value_dim;
  };
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const auto& [head_dim, value_dim] :
         {Widths{192, 128}, Widths{96, 64}, Widths{64, 128}, Widths{40, 24}, Widths{128, 256},
          Widths{256, 8}, Widths{36, 20}, Widths{20, 36}, Widths{64, 33}, Widths{5, 264}}) {
      expect_passes_like_ref({.head_dim = head_dim, .dtype = dtype, .value_dim = value_dim}, card);
    }
    expect_passes_like_ref(
        {.head_dim = 192, .dtype = dtype, .value_dim = 128, .bias = Bias::kFloat, .sinks = true},
        card);
  }
}

TEST_F(AttentionCuda, SequencesOfDifferentLengthsShareAPass) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t window : {0, 40}) {
      expect_like_ref({.sequences = {{1, 0}, {1, 700}, {1, 3}, {1, 64}, {1, 2000}},
                       .dtype = dtype,
                       .sliding_window = window},
                      card);
      expect_like_ref({.sequences = {{5, 0}, {1, 700}, {100, 3}, {1, 0}, {64, 130}},
                       .dtype = dtype,
                       .sliding_window = window},
                      card);
    }
  }
}

TEST_F(AttentionCuda, ManySequencesShareAPass) {
  CudaMachine card;
  std::vector<Span> sequences;
  for (std::int64_t s = 0; s < 300; ++s) sequences.push_back({1, s * 7 % 90});
  expect_like_ref({.sequences = sequences, .heads = 4, .kv_heads = 2, .head_dim = 32}, card);
}

TEST_F(AttentionCuda, RoomForMorePositionsThanThereAreChangesNothing) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t start : {0, 5, 100, 3000}) {
      expect_like_ref(
          {.sequences = {{1, start}, {1, start / 2}}, .dtype = dtype, .most_positions = 100'000},
          card);
    }
  }
}

TEST_F(AttentionCuda, UnalignedRowsAgreeWithRef) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t rows : {1, 20}) {
      const Case c{.sequences = {{rows, 50}}, .dtype = dtype};
      const Inputs in(c);
      // Float32 on ordinary cores then, whatever the cache.
      EXPECT_LE(kernel_test::largest_difference(on_card(c, in, card, 1), on_processor(c, in)), 1e-5)
          << describe(c);
    }
  }
}

TEST_F(AttentionCuda, OutMayBeTheQueries) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const Span& sequence : {Span{1, 0}, Span{1, 4000}, Span{200, 7}}) {
      const Case c{.sequences = {sequence}, .dtype = dtype};
      const Inputs in(c);
      EXPECT_TRUE(same_bits(on_card(c, in, card, 0, /*in_place=*/true), on_card(c, in, card)))
          << describe(c);
    }
  }
}

TEST_F(AttentionCuda, LargeScoresDoNotOverflow) {
  CudaMachine card;
  for (const DType dtype : kDTypes) {
    for (const std::int64_t rows : {1, 40}) {
      const Case c{.sequences = {{rows, 100}}, .dtype = dtype};
      for (const float value : on_card(c, Inputs(c, 1e5F), card)) {
        ASSERT_TRUE(std::isfinite(value)) << describe(c);
      }
    }
  }
}

TEST_F(AttentionCuda, NegativeAndZeroScalesAgreeWithRef) {
  CudaMachine card;
  Machine ref(Isa::kRef);
  const std::int64_t d = 64;
  for (const float scale : {-0.125F, 0.0F}) {
    for (const std::int64_t rows : {1, 20}) {
      KvCacheView cache{.dtype = DType::kF16, .kv_heads = 1, .capacity = 30, .head_dim = d};
      std::vector<std::byte> keys(cache.bytes_each());
      std::vector<std::byte> values(cache.bytes_each());
      cache.keys = keys.data();
      cache.values = values.data();
      store_kv(random_floats(30 * d, 1), random_floats(30 * d, 2), 0, cache, ref.context());
      const auto q = random_floats(rows * 2 * d, 3);
      const AttentionParams params{.heads = 2, .scale = scale};
      std::vector<float> expected(q.size());
      attention(q, 5, cache, params, expected, ref.context());
      const auto card_keys = card.upload(keys);
      const auto card_values = card.upload(values);
      cache.keys = card_keys.data();
      cache.values = card_values.data();
      const auto card_q = card.upload(q);
      attention(card_q, 5, cache, params, card_q, card.context());
      EXPECT_LE(kernel_test::largest_difference(card.download(card_q), expected), 2e-3) << scale;
    }
  }
}

TEST_F(AttentionCuda, AGraphServesLengthsThatItHadNotSeen) {
  CudaMachine card;
  const Case c{.sequences = {{1, 900}, {1, 33}},
               .most_positions = 1024,
               .bias = Bias::kFloat,
               .sinks = true};
  const Inputs in(c);
  const CardCaches caches(c, in, card);
  const auto slopes = card.upload(c.slopes());
  const auto sinks = card.upload(c.sink_scores());
  const auto q = card.upload(in.q);
  const auto k = card.upload(in.k);
  const auto v = card.upload(in.v);
  const auto out = card.make<float>(in.q.size());
  // Recorded for sequences of one position each.
  const std::vector<cuda::SequenceRows> empty = {{.first_row = 0, .rows = 1, .start = 0},
                                                 {.first_row = 1, .rows = 1, .start = 0}};
  const auto sequences = card.upload(empty);
  const auto places = card.upload(caches.places());
  const cuda::AttentionJob job{.q = q.data(),
                               .k = k.data(),
                               .v = v.data(),
                               .out = out.data(),
                               .sequences = sequences.data(),
                               .places = places.data(),
                               .sequence_count = 2,
                               .rows = 2,
                               .most_rows = 1,
                               .most_positions = c.most_positions,
                               .dtype = c.dtype,
                               .kv_heads = c.kv_heads,
                               .head_dim = c.head_dim,
                               .value_dim = c.value_width(),
                               .params = c.params(slopes, sinks)};
  const cuda::Graph graph(card.queue(), [&] {
    cuda::store_kv(job, card.context());
    cuda::attention(job, card.context());
  });
  cuda::upload(card.queue(), sequences.data(), caches.spans().data(),
               caches.spans().size() * sizeof(cuda::SequenceRows));
  graph.launch(card.queue());
  EXPECT_LE(kernel_test::largest_difference(card.download(out), on_processor(c, in)),
            tolerance_of(c));
}

TEST_F(AttentionCuda, StoredKeysAndValuesAreThoseOfTheProcessor) {
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

TEST_F(AttentionCuda, RowsWithoutAScaleAreStoredAsOnTheProcessor) {
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
TEST_F(AttentionCuda, TurningOnTheWayToTheCacheIsTurningBefore) {
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
          const CardCaches caches(c, in, card);
          const auto q = card.upload(in.q);
          const auto k = card.upload(in.k);
          const auto v = card.upload(in.v);
          const auto out =
              card.make<float>(static_cast<std::size_t>(c.rows() * c.heads * c.value_width()));
          const auto sequences = card.upload(caches.spans());
          const auto places = card.upload(caches.places());
          const cuda::AttentionJob job{.q = q.data(),
                                       .k = k.data(),
                                       .v = v.data(),
                                       .out = out.data(),
                                       .sequences = sequences.data(),
                                       .places = places.data(),
                                       .sequence_count = 3,
                                       .rows = c.rows(),
                                       .most_rows = caches.most_rows(),
                                       .most_positions = caches.most_positions(),
                                       .dtype = c.dtype,
                                       .kv_heads = c.kv_heads,
                                       .head_dim = c.head_dim,
                                       .value_dim = c.value_width(),
                                       .params = c.params({}, {})};
          if (at_once) {
            cuda::rotate_halves_and_store(job, q.data(), cos.data(), sin.data(), rotary_dim,
                                          card.context());
          } else {
            const RotaryShape shape{
                .rows = c.rows(), .heads = c.heads, .head_dim = head_dim, .rotary_dim = rotary_dim};
            RotaryShape of_keys = shape;
            of_keys.heads = c.kv_heads;
            cuda::apply_rotary_halves(q, shape, cos, sin, card.context());
            cuda::apply_rotary_halves(k, of_keys, cos, sin, card.context());
            cuda::store_kv(job, card.context());
          }
          cuda::attention(job, card.context());
          caches.check_guards(card);
          outs.push_back(card.download(out));
          queries.push_back(card.download(q));
        }
        EXPECT_TRUE(same_bits(outs[0], outs[1])) << to_string(dtype) << " " << head_dim;
        EXPECT_TRUE(same_bits(queries[0], queries[1])) << to_string(dtype) << " " << head_dim;
      }
    }
  }
}

TEST_F(AttentionCuda, FrontDoorsRefuseWhatTheProcessorRefuses) {
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
