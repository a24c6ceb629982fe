// The blocked product of int8 activations with four-bit weights: eight unpacked weight rows,
// broadcast four codes at a time, times two panels of 16 rows of x make sixteen sums of a run, each
// scaled and added in float32.
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "kernels/four_bit_int8_avx512.h"
#include "kernels/linear_four_bit_int8_paths.h"

namespace shoehorn::avx512 {
namespace {

constexpr int kRowsAtOnce = 8;

void unpack(const std::uint8_t* packed, std::int64_t row_bytes, std::int64_t count,
            std::int64_t runs, std::int64_t ahead, const FourBitInt8Codes& codes,
            Int8TileRun* out) {
  unpack_rows(packed, row_bytes, count, runs, ahead, codes, -128, out);
}

void unnest(const FourBitParts& parts, std::int64_t first, std::int64_t count, float* out) {
  unnest_absmax(parts, first, count, out);
}

// N weight rows from row n on, times V panels.
template <int N, int V>
void multiply_rows(const FourBitInt8Multiply& job, std::int64_t n, std::int64_t panel) {
  const Int8TileRun* const weights = job.weights + n / kInt8TileRows * kInt8GroupRuns;
  const Int8PanelRun* const x = job.panels + panel * job.panel_runs;
  float* const c = job.c + (panel * job.c_outputs + n) * kInt8TileRows;
  __m512 acc[N][V];
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const float* const from = c + (v * job.c_outputs + i) * kInt8TileRows;
      acc[i][v] = job.first ? _mm512_setzero_ps() : _mm512_loadu_ps(from);
    }
  }
  for (std::int64_t r = 0; r < job.runs; ++r) {
    const std::int8_t* const row = weights[r].codes[n % kInt8TileRows];
    __m512i sums[N][V];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sums[i][v] = _mm512_load_si512(x[v * job.panel_runs + r].offset);
    }
    for (int quad = 0; quad < 16; ++quad) {
      __m512i inputs[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        inputs[v] = _mm512_load_si512(x[v * job.panel_runs + r].codes[quad]);
      }
#pragma GCC unroll 8
      for (int i = 0; i < N; ++i) {
        int four;
        std::memcpy(&four, row + i * kInt8Run + 4 * quad, sizeof(four));
        const __m512i weight = _mm512_set1_epi32(four);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) {
          sums[i][v] = _mm512_dpbusd_epi32(sums[i][v], weight, inputs[v]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
      const __m512 absmax = _mm512_set1_ps(job.absmax[r * kInt8Group + n + i]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        const __m512 scale = _mm512_mul_ps(absmax, _mm512_load_ps(x[v * job.panel_runs + r].scale));
        acc[i][v] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[i][v]), scale, acc[i][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < N; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      _mm512_storeu_ps(c + (v * job.c_outputs + i) * kInt8TileRows, acc[i][v]);
    }
  }
}

template <int V>
void multiply_panels(const FourBitInt8Multiply& job, std::int64_t panel) {
  std::int64_t n = 0;
  for (; n + kRowsAtOnce <= job.outputs; n += kRowsAtOnce) {
    multiply_rows<kRowsAtOnce, V>(job, n, panel);
  }
  for (; n < job.outputs; ++n) multiply_rows<1, V>(job, n, panel);
}

void multiply(const FourBitInt8Multiply& job) {
  std::int64_t panel = 0;
  for (; panel + 2 <= job.panel_count; panel += 2) multiply_panels<2>(job, panel);
  if (panel < job.panel_count) multiply_panels<1>(job, panel);
}

void pack(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t runs,
          Int8PanelRun* panel) {
  pack_panel(x, ldx, rows, runs, panel);
}

void store(const float* c, std::int64_t outputs, std::int64_t rows, float unit, const float* bias,
           bool accumulate, float* y, std::int64_t ldy) {
  store_rows(c, outputs, rows, unit, bias, accumulate, y, ldy);
}

}  // namespace

const FourBitInt8GemmPath kFourBitInt8Gemm = {
    .pack = pack, .unpack = unpack, .unnest = unnest, .multiply = multiply, .store = store};

}  // namespace shoehorn::avx512
