// The pieces of the blocked matrix product, for panels of 16 rows of x: two vectors of eight, and
// six weights at a time, so 12 sums, two vectors of x and a broadcast weight fill the registers.
#include <cstddef>
#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

constexpr std::int64_t kWidth = 2 * kLanes;
// Turns between two prefetches of a row of the next weights: a line of float32.
constexpr std::int64_t kPrefetchTurns = 16;
// How far ahead the panel, which comes from the second-level cache, is asked for.
constexpr std::int64_t kPanelAhead = 16;
constexpr int kGroup = 6;

void pack(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t depth, float* panel) {
  for (std::int64_t m0 = 0; m0 < kWidth; m0 += kLanes) {
    for (std::int64_t k0 = 0; k0 < depth; k0 += kLanes) {
      const std::int64_t columns = depth - k0 < kLanes ? depth - k0 : kLanes;
      const __m256i lanes = first_lanes(columns);
      __m256 block[8];
#pragma GCC unroll 8
      for (int m = 0; m < 8; ++m) {
        block[m] = m0 + m < rows ? _mm256_maskload_ps(x + (m0 + m) * ldx + k0, lanes)
                                 : _mm256_setzero_ps();
      }
      transpose(block);
      float* const out = panel + k0 * kWidth + m0;
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        if (k < columns) _mm256_storeu_ps(out + k * kWidth, block[k]);
      }
    }
  }
}

// N weight rows times V vectors of the panel.
template <int N, int V>
void multiply_group(const float* w, const float* panel, std::int64_t depth, float* c, bool first,
                    const NextWeights& next) {
  __m256 acc[N][V];
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) acc[n][v] = _mm256_setzero_ps();
  }
  const auto turn = [&](std::int64_t k) __attribute__((always_inline)) {
    __m256 inputs[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) inputs[v] = _mm256_loadu_ps(panel + k * kWidth + v * kLanes);
    _mm_prefetch(reinterpret_cast<const char*>(panel + (k + kPanelAhead) * kWidth), _MM_HINT_T0);
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      const __m256 weight = _mm256_set1_ps(w[n * kWidenedStride + k]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) acc[n][v] = _mm256_fmadd_ps(weight, inputs[v], acc[n][v]);
    }
  };
  for (std::int64_t k0 = 0; k0 < depth; k0 += kPrefetchTurns) {
    const std::byte* line = next.first + next.bytes * k0 / kGemmDepth;
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n, line += next.row_bytes) {
      _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
    }
    if (k0 + kPrefetchTurns > depth) {
      for (std::int64_t k = k0; k < depth; ++k) turn(k);
      break;
    }
    // Four turns share the loop's own instructions: 21 in place of 25 for 12 multiply-adds.
#pragma GCC unroll 4
    for (std::int64_t k = k0; k < k0 + kPrefetchTurns; ++k) turn(k);
  }
  // Each block of the depth is summed apart and then added: shorter sums, smaller errors.
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      float* const to = c + n * kWidth + v * kLanes;
      _mm256_storeu_ps(to, first ? acc[n][v] : _mm256_add_ps(_mm256_loadu_ps(to), acc[n][v]));
    }
  }
}

template <int V>
void multiply_vectors(const float* w, std::int64_t count, const float* panel, std::int64_t depth,
                      float* c, bool first, const NextWeights& next) {
  if (count == kGroup) return multiply_group<kGroup, V>(w, panel, depth, c, first, next);
  // The last rows of a tile; what is next waits.
  const NextWeights none{.first = next.first};
  std::int64_t n = 0;
  for (; n + 2 <= count; n += 2) {
    multiply_group<2, V>(w + n * kWidenedStride, panel, depth, c + n * kWidth, first, none);
  }
  for (; n < count; ++n) {
    multiply_group<1, V>(w + n * kWidenedStride, panel, depth, c + n * kWidth, first, none);
  }
}

void multiply(const float* w, std::int64_t count, const float* panel, std::int64_t depth,
              std::int64_t rows, float* c, bool first, const NextWeights& next) {
  if (rows > kLanes) {
    multiply_vectors<2>(w, count, panel, depth, c, first, next);
  } else {
    multiply_vectors<1>(w, count, panel, depth, c, first, next);
  }
}

void store(const float* c, std::int64_t count, std::int64_t rows, const float* bias,
           bool accumulate, float* y, std::int64_t ldy) {
  for (std::int64_t n0 = 0; n0 < count; n0 += kLanes) {
    const std::int64_t columns = count - n0 < kLanes ? count - n0 : kLanes;
    const __m256i lanes = first_lanes(columns);
    const __m256 offsets =
        bias != nullptr ? _mm256_maskload_ps(bias + n0, lanes) : _mm256_setzero_ps();
    for (std::int64_t m0 = 0; m0 < rows; m0 += kLanes) {
      __m256 block[8];
#pragma GCC unroll 8
      for (int n = 0; n < 8; ++n) {
        block[n] = n < columns ? _mm256_loadu_ps(c + (n0 + n) * kWidth + m0) : _mm256_setzero_ps();
      }
      transpose(block);
      float* const out = y + m0 * ldy + n0;
#pragma GCC unroll 8
      for (int m = 0; m < 8; ++m) {
        if (m0 + m >= rows) break;
        __m256 value = _mm256_add_ps(block[m], offsets);
        if (accumulate) value = _mm256_add_ps(_mm256_maskload_ps(out + m * ldy, lanes), value);
        _mm256_maskstore_ps(out + m * ldy, lanes, value);
      }
    }
  }
}

}  // namespace

const GemmPath kGemm = {
    .width = kWidth, .group = kGroup, .pack = pack, .multiply = multiply, .store = store};

}  // namespace shoehorn::avx2
