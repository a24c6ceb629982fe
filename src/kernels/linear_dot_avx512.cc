// Dot products of a few rows with stored weights, sixteen values at a time. Bound by memory when
// the weights are not in a cache: four rows of W run side by side, which gives each load of x four
// uses and the multiply-adds enough independent sums, and lines are asked for well ahead of their
// use.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_dot_streams.h"
#include "kernels/linear_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

// Values of a row in one turn of the loop.
constexpr std::int64_t kStep = 2 * kLanes;

// Sums of R rows of W times M rows of x. One row of x alone has two sums an output, so that eight
// multiply-adds are under way.
struct Group {
  template <typename Load, int R, int M>
  static void dot(const std::byte* w, std::int64_t stream_bytes, std::int64_t k, const float* x,
                  const Ahead& ahead, float (&sums)[R][M]) {
    constexpr int kChains = M == 1 ? 2 : 1;
    __m512 acc[R][M][kChains];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
        for (int c = 0; c < kChains; ++c) acc[r][m][c] = _mm512_setzero_ps();
      }
    }
    std::int64_t i = 0;
    for (; i + kStep <= k; i += kStep) {
      const std::int64_t at = i * Load::kBytes;
      const std::int64_t distance = at < ahead.last_byte ? ahead.bytes : 0;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (std::int64_t line = 0; line < kStep * Load::kBytes; line += 64) {
          _mm_prefetch(reinterpret_cast<const char*>(w + r * stream_bytes + at + line + distance),
                       _MM_HINT_T1);
        }
      }
#pragma GCC unroll 2
      for (int u = 0; u < 2; ++u) {
        __m512 values[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) values[r] = Load::full(w + r * stream_bytes, i + u * kLanes);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          const __m512 inputs = _mm512_loadu_ps(x + m * k + i + u * kLanes);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) {
            acc[r][m][u % kChains] = _mm512_fmadd_ps(values[r], inputs, acc[r][m][u % kChains]);
          }
        }
      }
    }
    for (; i < k; i += kLanes) {
      const __mmask16 lanes = first_lanes(k - i < kLanes ? k - i : kLanes);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const __m512 inputs = _mm512_maskz_loadu_ps(lanes, x + m * k + i);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const __m512 values = Load::part(w + r * stream_bytes, i, lanes);
          acc[r][m][0] = _mm512_fmadd_ps(values, inputs, acc[r][m][0]);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        __m512 sum = acc[r][m][0];
        if (kChains == 2) sum = _mm512_add_ps(sum, acc[r][m][kChains - 1]);
        sums[r][m] = _mm512_reduce_add_ps(sum);
      }
    }
  }
};

template <typename Load>
void dot(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot_streams<Group, Load, 4>(job, begin, end);
}

}  // namespace

void dot_f32(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<LoadF32>(job, begin, end);
}
void dot_bf16(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<LoadBf16>(job, begin, end);
}
void dot_f16(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<LoadF16>(job, begin, end);
}

}  // namespace shoehorn::avx512
