// Dot products of a few rows with rows of GGUF blocks, eight values at a time, with no decoded row
// in memory. linear_gguf_blocks_avx2.h says how blocks become bytes, linear_gguf_streams.h how rows
// are walked.
//
// A group's quants are summed before its scale multiplies them, which takes a quarter of the
// operations but is another thing where a scale is infinite: infinity times a sum rather than a sum
// of infinities and NaNs. Any such row ends up as no finite number, and is then summed once more as
// its decoded values would be.
#include <cmath>
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_gguf_blocks_avx2.h"
#include "kernels/linear_gguf_paths.h"
#include "kernels/linear_gguf_streams.h"
#include "kernels/vector_avx2.h"
#include "quant/decode_row_ref.h"

namespace shoehorn::avx2 {
namespace {

using gguf::Group;
using gguf::RowScales;

// Of decoded values, a block of 256 at a time.
float decoded_sum(DType dtype, const std::byte* row, std::int64_t k, const float* x) {
  constexpr std::int64_t kPiece = quant::kSuperBlock;
  const std::int64_t piece_bytes = static_cast<std::int64_t>(*packed_bytes(dtype, kPiece));
  float values[kPiece];
  double sum = 0;
  for (std::int64_t at = 0; at < k; at += kPiece, row += piece_bytes) {
    const std::int64_t count = k - at < kPiece ? k - at : kPiece;
    quant::decode_row_ref(dtype, row, count, values);
    for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(values[i]) * x[at + i];
  }
  return static_cast<float>(sum);
}

template <typename StepsType, DType kType>
struct Kernel {
  using Steps = StepsType;

  static constexpr int kChunkValues = Steps::kChunkBlocks * Steps::kBlockValues;
  static constexpr int kGroups = kChunkValues / Steps::kGroupValues;
  static constexpr int kStepGroups = Steps::kStepValues / Steps::kGroupValues;
  static constexpr int kGroupVectors = Steps::kGroupValues / 8;
  // A turn asks for its lines, and for a part of one too many.
  static constexpr int kTurnSteps = 2;
  static constexpr int kTurns = kChunkValues / Steps::kStepValues / kTurnSteps;
  static constexpr int kTurnLines =
      (Steps::kChunkBlocks * sizeof(typename Steps::Block) / kTurns + 63) / 64;

  template <int R, int M>
  struct Sums {
    __m256 at[R][M];
  };

  // With offsets and several rows of x it takes fewer operations to decode values once.
  template <int M>
  static constexpr bool kDecodes = Steps::kHasOffset&& M > 1;

  // What offsets of one row of x are multiplied with: its sums over each group, in eight parts.
  struct GroupSums {
    alignas(32) float at[kGroups][8];
  };

  static void sum_groups(const float* x, int groups, GroupSums& sums) {
    for (int g = 0; g < groups; ++g, x += Steps::kGroupValues) {
      __m256 sum = _mm256_loadu_ps(x);
#pragma GCC unroll 4
      for (int v = 1; v < kGroupVectors; ++v) {
        sum = _mm256_add_ps(sum, _mm256_loadu_ps(x + 8 * v));
      }
      _mm256_store_ps(sums.at[g], sum);
    }
  }

  // Group g of the chunk, whose quants are at q, with the x of the chunk.
  template <int M>
  [[gnu::always_inline]] static void add_group(const std::uint8_t* q, int g,
                                               const typename Steps::Scales& scales, const float* x,
                                               std::int64_t k, const GroupSums& group_sums,
                                               __m256 (&sums)[M]) {
    const __m256 scale = _mm256_set1_ps(scales.scale(g));
    __m256 values[kGroupVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kGroupVectors; ++v) {
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(q + 8 * v));
      values[v] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight));
      if constexpr (kDecodes<M>) {
        values[v] = _mm256_fmadd_ps(scale, values[v], _mm256_set1_ps(scales.offset(g)));
      }
    }
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m) {
      const float* const from = x + m * k + g * Steps::kGroupValues;
      __m256 sum = kDecodes<M> ? _mm256_fmadd_ps(values[0], _mm256_loadu_ps(from), sums[m])
                               : _mm256_mul_ps(values[0], _mm256_loadu_ps(from));
#pragma GCC unroll 4
      for (int v = 1; v < kGroupVectors; ++v) {
        sum = _mm256_fmadd_ps(values[v], _mm256_loadu_ps(from + 8 * v), sum);
      }
      sums[m] = kDecodes<M> ? sum : _mm256_fmadd_ps(scale, sum, sums[m]);
    }
    if constexpr (Steps::kHasOffset && !kDecodes<M>) {
      const __m256 offset = _mm256_set1_ps(scales.offset(g));
      sums[0] = _mm256_fmadd_ps(offset, _mm256_load_ps(group_sums.at[g]), sums[0]);
    }
  }

  // Step s of the chunk at block `at`.
  template <int R, int M>
  [[gnu::always_inline]] static void add_step(const Group<Steps, R>& group, std::int64_t at, int s,
                                              const RowScales<Steps, R>& scales,
                                              const GroupSums& group_sums, Sums<R, M>& sums) {
    const float* const x = group.x + at * Steps::kBlockValues;
    Quants<Steps::kStepValues> quants[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      Steps::bytes(group.rows.blocks(r, at), s, quants[r]);
      gguf::keep_in_memory(quants[r].q);
    }
#pragma GCC unroll 8
    for (int g = 0; g < kStepGroups; ++g) {
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) {
        add_group<M>(quants[r].q + g * Steps::kGroupValues, s * kStepGroups + g, scales.scales[r],
                     x, group.k, group_sums, sums.at[r]);
      }
    }
  }

  template <int R, int M>
  [[gnu::always_inline]] static void add_chunk(const Group<Steps, R>& group, std::int64_t at,
                                               const char* line, const RowScales<Steps, R>& scales,
                                               const GroupSums& group_sums, Sums<R, M>& sums) {
    for (int turn = 0; turn < kTurns; ++turn) {
#pragma GCC unroll 4
      for (int l = 0; l < kTurnLines; ++l) {
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
          _mm_prefetch(line + r * group.rows.stream_bytes + 64 * l, _MM_HINT_T0);
        }
      }
      line += kTurnLines * 64;
#pragma GCC unroll 2
      for (int u = 0; u < kTurnSteps; ++u) {
        add_step<R, M>(group, at, turn * kTurnSteps + u, scales, group_sums, sums);
      }
    }
  }

  template <int R, int M>
  static void sum(const Group<Steps, R>& group, RowScales<Steps, R>& scales,
                  float (&results)[R][M]) {
    Sums<R, M> sums;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (__m256& sum : sums.at[r]) sum = _mm256_setzero_ps();
    }
    GroupSums group_sums;
    const auto sum_x = [&](std::int64_t at, int groups) {
      if (!Steps::kHasOffset || kDecodes<M>) return;
      sum_groups(group.x + at * Steps::kBlockValues, groups, group_sums);
    };
    gguf::for_each_chunk(
        group, scales,
        [&](std::int64_t at, const char* line) {
          sum_x(at, kGroups);
          add_chunk<R, M>(group, at, line, scales, group_sums, sums);
        },
        [&](std::int64_t at, int count) {
          sum_x(at, count);
          for (int s = 0; s < count; ++s) add_step<R, M>(group, at, s, scales, group_sums, sums);
        });
    for (int r = 0; r < R; ++r) {
      for (int m = 0; m < M; ++m) {
        results[r][m] = reduce_add(sums.at[r][m]);
        if (std::isfinite(results[r][m])) continue;
        const std::byte* const row = group.rows.first + r * group.rows.stream_bytes;
        results[r][m] = decoded_sum(kType, row, group.k, group.x + m * group.k);
      }
    }
  }
};

// Sixteen registers hold the sums of few rows of W and x.
template <typename Steps, DType kType>
void dot(const DotJob& job, std::int64_t begin, std::int64_t end) {
  if (job.rows <= 2) {
    gguf::dot_range<Kernel<Steps, kType>, 4>(job, begin, end);
  } else {
    gguf::dot_range<Kernel<Steps, kType>, 2>(job, begin, end);
  }
}

}  // namespace

DotPath gguf_dot_path(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0: return dot<StepsQ4_0, DType::kQ4_0>;
    case DType::kQ4_1: return dot<StepsQ4_1, DType::kQ4_1>;
    case DType::kQ5_0: return dot<StepsQ5_0, DType::kQ5_0>;
    case DType::kQ5_1: return dot<StepsQ5_1, DType::kQ5_1>;
    case DType::kQ8_0: return dot<StepsQ8_0, DType::kQ8_0>;
    case DType::kQ4_K: return dot<StepsQ4_K, DType::kQ4_K>;
    case DType::kQ5_K: return dot<StepsQ5_K, DType::kQ5_K>;
    case DType::kQ6_K: return dot<StepsQ6_K, DType::kQ6_K>;
    case DType::kIQ4_NL: return dot<StepsIQ4_NL, DType::kIQ4_NL>;
    case DType::kMXFP4: return dot<StepsMXFP4, DType::kMXFP4>;
    default: return nullptr;
  }
}

}  // namespace shoehorn::avx2
