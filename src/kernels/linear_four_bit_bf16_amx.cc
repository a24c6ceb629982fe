// Products of bfloat16 tiles: two tiles of 16 weight rows times two panels of 16 rows of x make
// four tiles of float32 sums, so that each tile that is loaded is used twice.
#include <cstdint>

#include <immintrin.h>

#include "kernels/four_bit_int8_avx512.h"
#include "kernels/linear_four_bit_bf16_paths.h"
#include "kernels/tiles_amx.h"

namespace shoehorn::amx {
namespace {

constexpr std::int64_t kRowBytes = kBf16Stride * 2;
constexpr std::int64_t kTileSums = kBf16Rows * kBf16Rows;

void multiply_two(const Bf16Multiply& job, std::int64_t panel) {
  const Bf16PanelBlock* const x0 = job.panels + panel * job.panel_blocks;
  const Bf16PanelBlock* const x1 = x0 + job.panel_blocks;
  float* const c0 = job.c + panel * job.c_outputs * kBf16Rows;
  float* const c1 = c0 + job.c_outputs * kBf16Rows;
  if (job.first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, c0, kTileRowBytes);
    _tile_loadd(1, c1, kTileRowBytes);
    _tile_loadd(2, c0 + kTileSums, kTileRowBytes);
    _tile_loadd(3, c1 + kTileSums, kTileRowBytes);
  }
  for (std::int64_t b = 0; b < job.blocks; ++b) {
    const std::uint16_t* const w = job.weights + b * kBf16Columns;
    _tile_loadd(4, w, kRowBytes);
    _tile_loadd(6, x0[b].values, kTileRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, x1[b].values, kTileRowBytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, w + kBf16Rows * kBf16Stride, kRowBytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c0, kTileRowBytes);
  _tile_stored(1, c1, kTileRowBytes);
  _tile_stored(2, c0 + kTileSums, kTileRowBytes);
  _tile_stored(3, c1 + kTileSums, kTileRowBytes);
}

void multiply_one(const Bf16Multiply& job, std::int64_t panel) {
  const Bf16PanelBlock* const x = job.panels + panel * job.panel_blocks;
  float* const c = job.c + panel * job.c_outputs * kBf16Rows;
  if (job.first) {
    _tile_zero(0);
    _tile_zero(2);
  } else {
    _tile_loadd(0, c, kTileRowBytes);
    _tile_loadd(2, c + kTileSums, kTileRowBytes);
  }
  for (std::int64_t b = 0; b < job.blocks; ++b) {
    const std::uint16_t* const w = job.weights + b * kBf16Columns;
    _tile_loadd(4, w, kRowBytes);
    _tile_loadd(6, x[b].values, kTileRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, w + kBf16Rows * kBf16Stride, kRowBytes);
    _tile_dpbf16ps(2, 5, 6);
  }
  _tile_stored(0, c, kTileRowBytes);
  _tile_stored(2, c + kTileSums, kTileRowBytes);
}

}  // namespace

void pack_bf16(const std::uint16_t* rows, std::int64_t stride, Bf16PanelBlock& out) {
  __m512 block[16];
  for (int m = 0; m < 16; ++m) block[m] = _mm512_loadu_ps(rows + m * stride);
  avx512::transpose(block);
  for (int i = 0; i < 16; ++i) _mm512_store_ps(out.values[i], block[i]);
}

void multiply_bf16(const Bf16Multiply& job) {
  const Tiles tiles(kFullTiles);
  std::int64_t panel = 0;
  for (; panel + 2 <= job.panel_count; panel += 2) multiply_two(job, panel);
  if (panel < job.panel_count) multiply_one(job, panel);
}

void store_bf16(const float* c, std::int64_t outputs, std::int64_t rows, const float* bias,
                bool accumulate, float* y, std::int64_t ldy) {
  avx512::store_rows(c, outputs, rows, 1.0F, bias, accumulate, y, ldy);
}

}  // namespace shoehorn::amx
