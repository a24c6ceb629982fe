// Integer sums of a panel to float32 results, for the blocked products of the _avx512*.cc and
// _amx.cc files alone: scales, bias, the products of outliers, and the transposition to rows of y.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_int8_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {

// Sums of the products of outliers: 16 outputs of 16 rows of x.
static inline void multiply_outliers(const Int8FinishJob& job, std::int64_t n0,
                                     __m512 (&sums)[16]) {
#pragma GCC unroll 16
  for (int n = 0; n < 16; ++n) sums[n] = _mm512_setzero_ps();
  const float* const weights = job.w_outliers + n0 * kInt8ColumnBlock;
  for (std::int64_t column = 0; column < job.columns; ++column) {
    const __m512 values = _mm512_loadu_ps(job.x_outliers + column * kInt8PanelRows);
#pragma GCC unroll 16
    for (int n = 0; n < 16; ++n) {
      const __m512 weight = _mm512_set1_ps(weights[n * kInt8ColumnBlock + column]);
      sums[n] = _mm512_fmadd_ps(values, weight, sums[n]);
    }
  }
}

// 16 outputs of 16 rows of x: block[n][m].
static inline void finish_block(const Int8FinishJob& job, std::int64_t n0, std::int64_t count,
                                __m512 (&block)[16]) {
  const Int8Output& out = job.out;
  if (job.columns > 0) multiply_outliers(job, n0, block);
  const __m512 stats = _mm512_loadu_ps(job.stats);
  const __m512 constant = _mm512_set1_ps(out.constant);
  const auto* const c = static_cast<const std::int32_t*>(job.c) + n0 * kInt8PanelRows;
#pragma GCC unroll 16
  for (int n = 0; n < 16; ++n) {
    __m512i bits = _mm512_setzero_si512();
    if (n < count) bits = _mm512_loadu_si512(c + n * kInt8PanelRows);
    __m512 value = _mm512_castsi512_ps(bits);
    if (job.first && n < count) {
      const __m512 scb = _mm512_set1_ps(out.scb[n0 + n]);
      value = _mm512_mul_ps(_mm512_cvtepi32_ps(bits), _mm512_mul_ps(stats, scb));
      value = _mm512_mul_ps(value, constant);
      if (out.bias != nullptr) value = _mm512_add_ps(value, _mm512_set1_ps(out.bias[n0 + n]));
    }
    block[n] = job.columns > 0 ? _mm512_add_ps(value, block[n]) : value;
  }
}

static inline void store_block(const Int8FinishJob& job, std::int64_t n0, std::int64_t count,
                               __m512 (&block)[16]) {
  const __mmask16 lanes = first_lanes(count);
  transpose(block);
  float* const y = job.out.y + n0;
#pragma GCC unroll 16
  for (int m = 0; m < 16; ++m) {
    if (m >= job.rows) break;
    float* const row = y + m * job.out.ldy;
    __m512 value = block[m];
    if (job.out.accumulate) value = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, row), value);
    _mm512_mask_storeu_ps(row, lanes, value);
  }
}

// Asks for the lines of y that a block will be stored to: they are far from each other, and waiting
// for them takes longer than what is computed here.
static inline void prefetch_block(const Int8FinishJob& job, std::int64_t n0) {
  const float* row = job.out.y + n0;
  for (std::int64_t m = 0; m < job.rows; ++m, row += job.out.ldy) {
    _mm_prefetch(reinterpret_cast<const char*>(row), _MM_HINT_T0);
  }
}

static void finish_int8(const Int8FinishJob& job) {
  if (job.last) prefetch_block(job, 0);
  for (std::int64_t n0 = 0; n0 < job.outputs; n0 += 16) {
    if (job.last && n0 + 16 < job.outputs) prefetch_block(job, n0 + 16);
    const std::int64_t count = job.outputs - n0 < 16 ? job.outputs - n0 : 16;
    __m512 block[16];
    finish_block(job, n0, count, block);
    if (job.last) {
      store_block(job, n0, count, block);
      continue;
    }
    auto* const c = static_cast<float*>(job.c) + n0 * kInt8PanelRows;
#pragma GCC unroll 16
    for (int n = 0; n < 16; ++n) _mm512_storeu_ps(c + n * kInt8PanelRows, block[n]);
  }
}

}  // namespace shoehorn::avx512
