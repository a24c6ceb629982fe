// The blocked product of int8 activations with four-bit weights on tiles: 16 unpacked weight rows
// times a panel of 16 rows of x are one product of a run. Its integer sums go through memory to
// vectors, where they are scaled and added in float32 while the tiles make the next ones.
#include <cstdint>

#include <immintrin.h>

#include "kernels/four_bit_int8_avx512.h"
#include "kernels/linear_four_bit_int8_paths.h"
#include "kernels/tiles_amx.h"

namespace shoehorn::amx {
namespace {

void unpack(const std::uint8_t* packed, std::int64_t row_bytes, std::int64_t count,
            std::int64_t runs, std::int64_t ahead, const FourBitInt8Codes& codes,
            Int8TileRun* out) {
  avx512::unpack_rows(packed, row_bytes, count, runs, ahead, codes, 0, out);
}

void unnest(const FourBitParts& parts, std::int64_t first, std::int64_t count, float* out) {
  avx512::unnest_absmax(parts, first, count, out);
}

void pack(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t runs,
          Int8PanelRun* panel) {
  avx512::pack_panel(x, ldx, rows, runs, panel);
}

void store(const float* c, std::int64_t outputs, std::int64_t rows, float unit, const float* bias,
           bool accumulate, float* y, std::int64_t ldy) {
  avx512::store_rows(c, outputs, rows, unit, bias, accumulate, y, ldy);
}

// The sums of two runs: [weight row][row of x] each.
struct alignas(64) Sums {
  std::int32_t values[2][kInt8TileRows][kInt8TileRows];
};

void multiply_runs(const Int8TileRun* weights, const Int8PanelRun* x, bool two, Sums& sums) {
  _tile_zero(0);
  _tile_loadd(4, weights[0].codes, kTileRowBytes);
  _tile_loadd(6, x[0].codes, kTileRowBytes);
  _tile_dpbssd(0, 4, 6);
  _tile_stored(0, sums.values[0], kTileRowBytes);
  if (!two) return;
  _tile_zero(1);
  _tile_loadd(5, weights[1].codes, kTileRowBytes);
  _tile_loadd(7, x[1].codes, kTileRowBytes);
  _tile_dpbssd(1, 5, 7);
  _tile_stored(1, sums.values[1], kTileRowBytes);
}

void add_run(const std::int32_t (&sums)[kInt8TileRows][kInt8TileRows], const float* absmax,
             const Int8PanelRun& x, __m512 (&acc)[kInt8TileRows]) {
  const __m512 scales = _mm512_load_ps(x.scale);
#pragma GCC unroll 16
  for (int n = 0; n < kInt8TileRows; ++n) {
    const __m512 scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums[n])), scales);
    acc[n] = _mm512_fmadd_ps(scaled, _mm512_set1_ps(absmax[n]), acc[n]);
  }
}

// Asks for some runs of the next panel, which comes from the second-level cache.
void prefetch(const Int8PanelRun* x, std::int64_t runs) {
  const auto* const start = reinterpret_cast<const char*>(x);
  const std::int64_t bytes = runs * static_cast<std::int64_t>(sizeof(Int8PanelRun));
  for (std::int64_t at = 0; at < bytes; at += 64) _mm_prefetch(start + at, _MM_HINT_T0);
}

// 16 weight rows from row n on times a panel.
void multiply_tile(const FourBitInt8Multiply& job, std::int64_t n, std::int64_t panel) {
  const Int8TileRun* const weights = job.weights + n / kInt8TileRows * kInt8GroupRuns;
  const Int8PanelRun* const x = job.panels + panel * job.panel_runs;
  const float* const absmax = job.absmax + n;
  float* const c = job.c + (panel * job.c_outputs + n) * kInt8TileRows;
  __m512 acc[kInt8TileRows];
#pragma GCC unroll 16
  for (int i = 0; i < kInt8TileRows; ++i) {
    acc[i] = job.first ? _mm512_setzero_ps() : _mm512_loadu_ps(c + i * kInt8TileRows);
  }
  Sums buffers[2];
  multiply_runs(weights, x, job.runs > 1, buffers[0]);
  for (std::int64_t r = 0; r < job.runs; r += 2) {
    const Sums& ready = buffers[r / 2 % 2];
    if (r + 2 < job.runs) {
      multiply_runs(weights + r + 2, x + r + 2, r + 3 < job.runs, buffers[(r / 2 + 1) % 2]);
    }
    add_run(ready.values[0], absmax + r * kInt8Group, x[r], acc);
    if (r + 1 < job.runs) add_run(ready.values[1], absmax + (r + 1) * kInt8Group, x[r + 1], acc);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kInt8TileRows; ++i) _mm512_storeu_ps(c + i * kInt8TileRows, acc[i]);
}

void multiply(const FourBitInt8Multiply& job) {
  const Tiles tiles(kFullTiles);
  for (std::int64_t panel = 0; panel < job.panel_count; ++panel) {
    for (std::int64_t n = 0; n < job.outputs; n += kInt8TileRows) {
      if (panel + 1 < job.panel_count && n < kInt8Group) {
        constexpr std::int64_t kShare = kInt8GroupRuns * kInt8TileRows / kInt8Group;
        prefetch(job.panels + (panel + 1) * job.panel_runs + n / kInt8TileRows * kShare, kShare);
      }
      multiply_tile(job, n, panel);
    }
  }
}

}  // namespace

const FourBitInt8GemmPath kFourBitInt8Gemm = {
    .pack = pack, .unpack = unpack, .unnest = unnest, .multiply = multiply, .store = store};

}  // namespace shoehorn::amx
