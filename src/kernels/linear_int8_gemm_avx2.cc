// The blocked product of many rows of codes: four weights, four columns of each, are broadcast to
// a panel of 16 rows of x, two vectors. Signs and magnitudes as in linear_int8_dot_avx2.cc.
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "kernels/int8_prefetch.h"
#include "kernels/linear_int8_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

constexpr int kGroup = 4;
constexpr std::int64_t kDepth = 1024;

void copy(const Int8CopyJob& job) {
  const std::int8_t* w = job.w;
  std::int8_t* out = job.out;
  for (std::int64_t n = 0; n < job.count; ++n, w += job.row_bytes, out += kInt8CopyStride) {
    for (std::int64_t i = 0; i < job.depth; i += 64) prefetch_ahead(job, w + i);
    std::memcpy(out, w, static_cast<std::size_t>(job.depth));
    const std::int64_t padding = padded_int8_depth(job.depth) - job.depth;
    std::memset(out + job.depth, 0, static_cast<std::size_t>(padding));
  }
}

// N weight rows times the panel `index`.
template <int N>
void multiply_group(const Int8BlockJob& job, std::int64_t first_row, std::int64_t index,
                    Int8Prefetch& next) {
  const std::int8_t* const w = job.w + first_row * kInt8CopyStride;
  const std::int8_t* const panel = job.panels + index * job.panel_bytes;
  auto* const c =
      reinterpret_cast<__m256i*>(job.c + index * job.c_panel + first_row * kInt8PanelRows);
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i acc[N][2];
#pragma GCC unroll 4
  for (std::int64_t n = 0; n < N; ++n) {
#pragma GCC unroll 2
    for (std::int64_t v = 0; v < 2; ++v) {
      acc[n][v] = job.first ? _mm256_setzero_si256() : _mm256_loadu_si256(c + 2 * n + v);
    }
  }
  for (std::int64_t i0 = 0; i0 < job.depth; i0 += 64) {
    next.step();
    for (std::int64_t i = i0; i < i0 + 64; i += 4) {
      const auto* const at = reinterpret_cast<const __m256i*>(panel + i * kInt8PanelRows);
      const __m256i codes[2] = {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
#pragma GCC unroll 4
      for (std::int64_t n = 0; n < N; ++n) {
        int four;
        std::memcpy(&four, w + n * kInt8CopyStride + i, 4);
        const __m256i weights = _mm256_set1_epi32(four);
        const __m256i magnitudes = _mm256_abs_epi8(weights);
#pragma GCC unroll 2
        for (std::int64_t v = 0; v < 2; ++v) {
          const __m256i pairs =
              _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(codes[v], weights));
          acc[n][v] = _mm256_add_epi32(acc[n][v], _mm256_madd_epi16(pairs, ones));
        }
      }
    }
  }
#pragma GCC unroll 4
  for (std::int64_t n = 0; n < N; ++n) {
    _mm256_storeu_si256(c + 2 * n, acc[n][0]);
    _mm256_storeu_si256(c + 2 * n + 1, acc[n][1]);
  }
}

void multiply(const Int8BlockJob& job) {
  Int8Prefetch next(job.next, job.panel_count * job.depth / 64);
  for (std::int64_t index = 0; index < job.panel_count; ++index) {
    if (job.count == kGroup) {
      multiply_group<kGroup>(job, 0, index, next);
      continue;
    }
    for (std::int64_t n = 0; n < job.count; ++n) multiply_group<1>(job, n, index, next);
  }
}

// Eight outputs of eight rows of x: block[n][m], m0 = 0 or 8.
void finish_block(const Int8FinishJob& job, std::int64_t n0, std::int64_t count, std::int64_t m0,
                  __m256 (&block)[8]) {
  const Int8Output& out = job.out;
  const __m256 stats = _mm256_loadu_ps(job.stats + m0);
  const __m256 constant = _mm256_set1_ps(out.constant);
  for (int n = 0; n < 8; ++n) {
    block[n] = _mm256_setzero_ps();
    if (n >= count) continue;
    const std::int64_t at = n0 + n;
    const float* const c = static_cast<const float*>(job.c) + at * kInt8PanelRows + m0;
    __m256 value = _mm256_loadu_ps(c);
    if (job.first) {
      value = _mm256_cvtepi32_ps(_mm256_castps_si256(value));
      value = _mm256_mul_ps(value, _mm256_mul_ps(stats, _mm256_set1_ps(out.scb[at])));
      value = _mm256_mul_ps(value, constant);
      if (out.bias != nullptr) value = _mm256_add_ps(value, _mm256_set1_ps(out.bias[at]));
    }
    block[n] = value;
    if (job.columns == 0) continue;
    __m256 outliers = _mm256_setzero_ps();
    for (std::int64_t i = 0; i < job.columns; ++i) {
      const __m256 weight = _mm256_set1_ps(job.w_outliers[at * kInt8ColumnBlock + i]);
      const __m256 values = _mm256_loadu_ps(job.x_outliers + i * kInt8PanelRows + m0);
      outliers = _mm256_fmadd_ps(values, weight, outliers);
    }
    block[n] = _mm256_add_ps(value, outliers);
  }
}

void store_block(const Int8FinishJob& job, std::int64_t n0, std::int64_t count, std::int64_t m0,
                 __m256 (&block)[8]) {
  const __m256i lanes = first_lanes(count < kLanes ? count : kLanes);
  transpose(block);
  for (std::int64_t m = 0; m < kLanes && m0 + m < job.rows; ++m) {
    float* const row = job.out.y + (m0 + m) * job.out.ldy + n0;
    __m256 value = block[m];
    if (job.out.accumulate) value = _mm256_add_ps(_mm256_maskload_ps(row, lanes), value);
    _mm256_maskstore_ps(row, lanes, value);
  }
}

void finish(const Int8FinishJob& job) {
  for (std::int64_t n0 = 0; n0 < job.outputs; n0 += kLanes) {
    const std::int64_t count = job.outputs - n0;
    for (std::int64_t m0 = 0; m0 < kInt8PanelRows; m0 += kLanes) {
      __m256 block[8];
      finish_block(job, n0, count, m0, block);
      if (job.last) {
        store_block(job, n0, count, m0, block);
        continue;
      }
      float* const c = static_cast<float*>(job.c) + n0 * kInt8PanelRows + m0;
      for (int n = 0; n < 8; ++n) _mm256_storeu_ps(c + n * kInt8PanelRows, block[n]);
    }
  }
}

}  // namespace

const Int8GemmPath kInt8Gemm = {.group = kGroup,
                                .depth = kDepth,
                                .reading_panels = 0,
                                .copy = copy,
                                .multiply = multiply,
                                .finish = finish};

}  // namespace shoehorn::avx2
