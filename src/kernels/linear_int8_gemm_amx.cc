// The blocked product of many rows of codes with tiles: two tiles of 16 weight rows, as they are
// stored, times two panels of 16 rows of x make four tiles of sums, so each tile that is loaded is
// used twice.
#include <cstdint>

#include <immintrin.h>

#include "kernels/int8_finish_avx512.h"
#include "kernels/int8_prefetch.h"
#include "kernels/linear_int8_paths.h"
#include "kernels/tiles_amx.h"

namespace shoehorn::amx {
namespace {

constexpr std::int64_t kGroup = 2 * kTileRows;
// A group of weights stays in the nearest cache while panels pass by: 16 KiB, and as much of two
// panels. (1024 columns are 10 % slower.)
constexpr std::int64_t kDepth = 512;
constexpr std::int64_t kReadingPanels = 4;
constexpr std::int64_t kSumsOfTile = kTileRows * kInt8PanelRows;

void copy(const Int8CopyJob& job) {
  const std::int8_t* w = job.w;
  std::int8_t* out = job.out;
  for (std::int64_t n = 0; n < kGroup; ++n, w += job.row_bytes, out += kInt8CopyStride) {
    for (std::int64_t i = 0; i < job.depth; i += kTileRowBytes) {
      const std::int64_t left = n < job.count ? job.depth - i : 0;
      const __mmask64 lanes =
          left >= kTileRowBytes ? ~std::uint64_t{0} : (std::uint64_t{1} << left) - 1;
      __m512i values = _mm512_setzero_si512();
      if (left > 0) {
        prefetch_ahead(job, w + i);
        values = _mm512_maskz_loadu_epi8(lanes, w + i);
      }
      _mm512_store_si512(out + i, values);
    }
  }
}

// Tiles 0 to 3: sums of weights 0-15 and 16-31 with panel 0 and 1; 4 and 5: weights; 6 and 7:
// codes.
void multiply_two(const Int8BlockJob& job, std::int64_t index, Int8Prefetch& next) {
  const std::int8_t* const panel = job.panels + index * job.panel_bytes;
  std::int32_t* const c0 = job.c + index * job.c_panel;
  std::int32_t* const c1 = c0 + job.c_panel;
  if (job.first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, c0, kTileRowBytes);
    _tile_loadd(1, c1, kTileRowBytes);
    _tile_loadd(2, c0 + kSumsOfTile, kTileRowBytes);
    _tile_loadd(3, c1 + kSumsOfTile, kTileRowBytes);
  }
  for (std::int64_t i = 0; i < job.depth; i += kTileRowBytes) {
    const std::int8_t* const w = job.w + i;
    const std::int8_t* const codes = panel + i * kInt8PanelRows;
    _tile_loadd(4, w, kInt8CopyStride);
    _tile_loadd(6, codes, kTileRowBytes);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(7, codes + job.panel_bytes, kTileRowBytes);
    _tile_dpbssd(1, 4, 7);
    _tile_loadd(5, w + kTileRows * kInt8CopyStride, kInt8CopyStride);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
    next.step();
  }
  _tile_stored(0, c0, kTileRowBytes);
  _tile_stored(1, c1, kTileRowBytes);
  _tile_stored(2, c0 + kSumsOfTile, kTileRowBytes);
  _tile_stored(3, c1 + kSumsOfTile, kTileRowBytes);
}

void multiply_one(const Int8BlockJob& job, std::int64_t index, Int8Prefetch& next) {
  const std::int8_t* const panel = job.panels + index * job.panel_bytes;
  std::int32_t* const c = job.c + index * job.c_panel;
  if (job.first) {
    _tile_zero(0);
    _tile_zero(2);
  } else {
    _tile_loadd(0, c, kTileRowBytes);
    _tile_loadd(2, c + kSumsOfTile, kTileRowBytes);
  }
  for (std::int64_t i = 0; i < job.depth; i += kTileRowBytes) {
    _tile_loadd(4, job.w + i, kInt8CopyStride);
    _tile_loadd(6, panel + i * kInt8PanelRows, kTileRowBytes);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, job.w + i + kTileRows * kInt8CopyStride, kInt8CopyStride);
    _tile_dpbssd(2, 5, 6);
    next.step();
  }
  _tile_stored(0, c, kTileRowBytes);
  _tile_stored(2, c + kSumsOfTile, kTileRowBytes);
}

void multiply(const Int8BlockJob& job) {
  const Tiles tiles(kFullTiles);
  Int8Prefetch next(job.next, (job.panel_count + 1) / 2 * job.depth / kTileRowBytes);
  for (std::int64_t index = 0; index < job.panel_count; index += 2) {
    if (index + 2 <= job.panel_count) {
      multiply_two(job, index, next);
    } else {
      multiply_one(job, index, next);
    }
  }
}

}  // namespace

const Int8GemmPath kInt8Gemm = {.group = kGroup,
                                .depth = kDepth,
                                .reading_panels = kReadingPanels,
                                .copy = copy,
                                .multiply = multiply,
                                .finish = avx512::finish_int8};

}  // namespace shoehorn::amx
