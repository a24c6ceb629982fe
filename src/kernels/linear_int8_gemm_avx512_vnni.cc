// The blocked product of many rows of codes: twelve weights, four columns of each, are broadcast to
// two panels of 16 rows of x, so 24 sums, two vectors of codes and a weight fill the registers.
// Weights are made unsigned for VPDPBUSD as in linear_int8_dot_avx512_vnni.cc.
#include <cstdint>

#include <immintrin.h>

#include "kernels/int8_finish_avx512.h"
#include "kernels/int8_prefetch.h"
#include "kernels/linear_int8_paths.h"

namespace shoehorn::avx512 {
namespace {

constexpr int kGroup = 12;
constexpr std::int64_t kDepth = 1024;
// How far ahead the panel, which comes from the second-level cache, is asked for.
constexpr std::int64_t kPanelAhead = 16;

void copy(const Int8CopyJob& job) {
  const __m512i flip = _mm512_set1_epi8(-128);
  const std::int8_t* w = job.w;
  std::int8_t* out = job.out;
  for (std::int64_t n = 0; n < job.count; ++n, w += job.row_bytes, out += kInt8CopyStride) {
    std::int64_t i = 0;
    for (; i + 64 <= job.depth; i += 64) {
      prefetch_ahead(job, w + i);
      _mm512_store_si512(out + i, _mm512_xor_si512(_mm512_loadu_si512(w + i), flip));
    }
    if (i == job.depth) continue;
    // What codes beyond the depth meet does not matter: they are zeros.
    const __mmask64 rest = (std::uint64_t{1} << (job.depth - i)) - 1;
    _mm512_store_si512(out + i, _mm512_xor_si512(_mm512_maskz_loadu_epi8(rest, w + i), flip));
  }
}

// N weight rows times V panels from panel `index` on.
template <int N, int V>
void multiply_group(const Int8BlockJob& job, std::int64_t first_row, std::int64_t index,
                    Int8Prefetch& next) {
  const std::int8_t* const w = job.w + first_row * kInt8CopyStride;
  const std::int8_t* const panel = job.panels + index * job.panel_bytes;
  std::int32_t* const c = job.c + index * job.c_panel + first_row * kInt8PanelRows;
  __m512i acc[N][V];
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
    __m512i start = _mm512_setzero_si512();
    if (job.first) {
      const __m512i sums = _mm512_loadu_si512(job.sums + (index + v) * kInt8PanelRows);
      start = _mm512_sub_epi32(start, _mm512_slli_epi32(sums, 7));
    }
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n) {
      acc[n][v] = start;
      if (!job.first) {
        acc[n][v] = _mm512_loadu_si512(c + v * job.c_panel + n * kInt8PanelRows);
      }
    }
  }
  for (std::int64_t i0 = 0; i0 < job.depth; i0 += 64) {
    next.step();
    for (std::int64_t i = i0; i < i0 + 64; i += 4) {
      __m512i codes[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        const std::int8_t* const at = panel + v * job.panel_bytes + i * kInt8PanelRows;
        codes[v] = _mm512_loadu_si512(at);
        _mm_prefetch(reinterpret_cast<const char*>(at + kPanelAhead * 64), _MM_HINT_T0);
      }
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n) {
        const auto* const at = reinterpret_cast<const int*>(w + n * kInt8CopyStride + i);
        const __m512i weight = _mm512_set1_epi32(*at);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) acc[n][v] = _mm512_dpbusd_epi32(acc[n][v], weight, codes[v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int n = 0; n < N; ++n) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      _mm512_storeu_si512(c + v * job.c_panel + n * kInt8PanelRows, acc[n][v]);
    }
  }
}

template <int V>
void multiply_panels(const Int8BlockJob& job, std::int64_t index, Int8Prefetch& next) {
  if (job.count == kGroup) return multiply_group<kGroup, V>(job, 0, index, next);
  // The last rows of a tile.
  std::int64_t n = 0;
  for (; n + 4 <= job.count; n += 4) multiply_group<4, V>(job, n, index, next);
  for (; n < job.count; ++n) multiply_group<1, V>(job, n, index, next);
}

void multiply(const Int8BlockJob& job) {
  Int8Prefetch next(job.next, (job.panel_count + 1) / 2 * job.depth / 64);
  for (std::int64_t index = 0; index < job.panel_count; index += 2) {
    if (index + 2 <= job.panel_count) {
      multiply_panels<2>(job, index, next);
    } else {
      multiply_panels<1>(job, index, next);
    }
  }
}

}  // namespace

const Int8GemmPath kInt8Gemm = {.group = kGroup,
                                .depth = kDepth,
                                .reading_panels = 0,
                                .copy = copy,
                                .multiply = multiply,
                                .finish = finish_int8};

}  // namespace shoehorn::avx512
