// Attention on a card against the double-precision loops of the processor.
#include "kernels/attention_cuda.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/graph.h"
#include "kernels/attention.h"
#include "kernels/kv_rows.h"
#include "kernels/testing_attention_cuda.h"

namespace shoehorn {
namespace {

using cuda_test::Bias;
using cuda_test::CardPass;
using cuda_test::Case;
using cuda_test::CudaMachine;
using cuda_test::CudaTest;
using cuda_test::describe;
using cuda_test::expect_like_ref;
using cuda_test::Inputs;
using cuda_test::kDTypes;
using cuda_test::on_card;
using cuda_test::on_processor;
using cuda_test::Span;
using cuda_test::tolerance_of;
using kernel_test::largest_difference;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

class AttentionCuda : public CudaTest {};

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

// Five keys of 30 before `rows` rows, in place.
void expect_small_like_ref(std::int64_t rows, AttentionParams params, std::vector<float> sinks,
                           CudaMachine& card) {
  const std::int64_t d = 64;
  Machine ref(Isa::kRef);
  KvCacheView cache{.dtype = DType::kF16, .kv_heads = 1, .capacity = 30, .head_dim = d};
  std::vector<std::byte> keys(cache.bytes_each());
  std::vector<std::byte> values(cache.bytes_each());
  cache.keys = keys.data();
  cache.values = values.data();
  store_kv(random_floats(30 * d, 1), random_floats(30 * d, 2), 0, cache, ref.context());
  const auto q = random_floats(rows * params.heads * d, 3);
  params.sinks = sinks.empty() ? nullptr : sinks.data();
  std::vector<float> expected(q.size());
  attention(q, 5, cache, params, expected, ref.context());
  const auto card_keys = card.upload(keys);
  const auto card_values = card.upload(values);
  cache.keys = card_keys.data();
  cache.values = card_values.data();
  const auto card_q = card.upload(q);
  const auto card_sinks = card.upload(sinks);
  params.sinks = sinks.empty() ? nullptr : card_sinks.data();
  attention(card_q, 5, cache, params, card_q, card.context());
  EXPECT_LE(largest_difference(card.download(card_q), expected), 2e-3)
      << rows << " rows, scale " << params.scale;
}

TEST_F(AttentionCuda, SinksFarFromTheScoresAgreeWithRef) {
  CudaMachine card;
  for (const std::int64_t rows : {1, 20}) {
    expect_small_like_ref(rows, {.heads = 3, .scale = 0.125F}, {-INFINITY, -1e30F, 1e30F}, card);
  }
}

TEST_F(AttentionCuda, NegativeAndZeroScalesAgreeWithRef) {
  CudaMachine card;
  for (const float scale : {-0.125F, 0.0F}) {
    for (const std::int64_t rows : {1, 20}) {
      expect_small_like_ref(rows, {.heads = 2, .scale = scale}, {}, card);
    }
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
      EXPECT_LE(largest_difference(on_card(c, in, card, 1), on_processor(c, in)), 1e-5)
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

TEST_F(AttentionCuda, AGraphServesLengthsThatItHadNotSeen) {
  CudaMachine card;
  const Case c{.sequences = {{1, 900}, {1, 33}},
               .most_positions = 1024,
               .bias = Bias::kFloat,
               .sinks = true};
  const Inputs in(c);
  const CardPass pass(c, in, card);
  const auto set_sequences = [&](const std::vector<cuda::SequenceRows>& spans) {
    cuda::upload(card.queue(), pass.sequences.data(), spans.data(),
                 spans.size() * sizeof(cuda::SequenceRows));
  };
  // Recorded for sequences of one position each.
  set_sequences({{.first_row = 0, .rows = 1, .start = 0}, {.first_row = 1, .rows = 1, .start = 0}});
  const cuda::Graph graph(card.queue(), [&] {
    cuda::store_kv(pass.job, card.context());
    cuda::attention(pass.job, card.context());
  });
  set_sequences(pass.caches.spans());
  graph.launch(card.queue());
  EXPECT_LE(largest_difference(card.download(pass.out), on_processor(c, in)), tolerance_of(c));
}

}  // namespace
}  // namespace shoehorn
