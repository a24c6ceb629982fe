// Dot products of a few rows with rows of GGUF blocks, sixteen values at a time, with no decoded
// row in memory. linear_gguf_blocks_avx512.h says how blocks become floats, linear_gguf_streams.h
// how rows are walked.
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_gguf_blocks_avx512.h"
#include "kernels/linear_gguf_paths.h"
#include "kernels/linear_gguf_streams.h"

namespace shoehorn::avx512 {
namespace {

using gguf::Group;
using gguf::RowScales;

// One row of x alone has two sums an output, so that eight multiply-adds are under way.
template <int R, int M>
struct Sums {
  static constexpr int kChains = M == 1 ? 2 : 1;
  __m512 at[R][M][kChains];
};

template <typename StepsType>
struct Kernel {
  using Steps = StepsType;

  // Steps are unrolled four by four; a turn asks for its lines, and for a part of one too many.
  static constexpr int kTurnSteps = Steps::kSteps < 4 ? Steps::kSteps : 4;
  static constexpr int kTurns = Steps::kSteps / kTurnSteps;
  static constexpr int kTurnLines =
      (Steps::kChunkBlocks * sizeof(typename Steps::Block) / kTurns + 63) / 64;

  // Step s of the chunk at block `at`.
  template <int R, int M>
  [[gnu::always_inline]] static void add_step(const Group<Steps, R>& group, std::int64_t at, int s,
                                              const RowScales<Steps, R>& scales, Sums<R, M>& sums) {
    const float* const x = group.x + at * Steps::kBlockValues;
    typename Steps::Step steps[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      Steps::step(group.rows.blocks(r, at), s, scales.scales[r], steps[r]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < Steps::kParts; ++i) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        const auto use = [&](int offset, __m512 values) {
#pragma GCC unroll 4
          for (int m = 0; m < M; ++m) {
            __m512& sum = sums.at[r][m][offset / 16 % Sums<R, M>::kChains];
            sum = _mm512_fmadd_ps(values, _mm512_loadu_ps(x + m * group.k + offset), sum);
          }
        };
        Steps::part(group.rows.blocks(r, at), s, i, steps[r], scales.scales[r], use);
      }
    }
  }

  template <int R, int M>
  [[gnu::always_inline]] static void add_chunk(const Group<Steps, R>& group, std::int64_t at,
                                               const char* line, const RowScales<Steps, R>& scales,
                                               Sums<R, M>& sums) {
    for (int turn = 0; turn < kTurns; ++turn) {
#pragma GCC unroll 4
      for (int u = 0; u < kTurnSteps; ++u) {
#pragma GCC unroll 4
        for (int l = u * kTurnLines / kTurnSteps; l < (u + 1) * kTurnLines / kTurnSteps; ++l) {
#pragma GCC unroll 4
          for (int r = 0; r < R; ++r) {
            _mm_prefetch(line + r * group.rows.stream_bytes + 64 * l, _MM_HINT_T0);
          }
        }
        add_step<R, M>(group, at, turn * kTurnSteps + u, scales, sums);
      }
      line += kTurnLines * 64;
    }
  }

  template <int R, int M>
  static void sum(const Group<Steps, R>& group, RowScales<Steps, R>& scales,
                  float (&results)[R][M]) {
    Sums<R, M> sums;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
        for (__m512& sum : sums.at[r][m]) sum = _mm512_setzero_ps();
      }
    }
    gguf::for_each_chunk(
        group, scales,
        [&](std::int64_t at, const char* line) { add_chunk<R, M>(group, at, line, scales, sums); },
        [&](std::int64_t at, int count) {
          for (int s = 0; s < count; ++s) add_step<R, M>(group, at, s, scales, sums);
        });
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        __m512 sum = sums.at[r][m][0];
        if (Sums<R, M>::kChains == 2) {
          sum = _mm512_add_ps(sum, sums.at[r][m][Sums<R, M>::kChains - 1]);
        }
        results[r][m] = _mm512_reduce_add_ps(sum);
      }
    }
  }
};

// Four rows of W and four of x: sixteen sums.
template <typename Steps>
void dot(const DotJob& job, std::int64_t begin, std::int64_t end) {
  gguf::dot_range<Kernel<Steps>, 4>(job, begin, end);
}

}  // namespace

DotPath gguf_dot_path(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0: return dot<StepsQ4_0>;
    case DType::kQ4_1: return dot<StepsQ4_1>;
    case DType::kQ5_0: return dot<StepsQ5_0>;
    case DType::kQ5_1: return dot<StepsQ5_1>;
    case DType::kQ8_0: return dot<StepsQ8_0>;
    case DType::kQ4_K: return dot<StepsQ4_K>;
    case DType::kQ5_K: return dot<StepsQ5_K>;
    case DType::kQ6_K: return dot<StepsQ6_K>;
    case DType::kIQ4_NL: return dot<StepsIQ4_NL>;
    case DType::kMXFP4: return dot<StepsMXFP4>;
    default: return nullptr;
  }
}

}  // namespace shoehorn::avx512
