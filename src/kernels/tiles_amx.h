// AMX tiles for the _amx.cc files alone: eight registers of 16 rows of 64 bytes, which a thread
// shapes before use and gives up afterwards (Intel's Software Developer's Manual, volume 1, chapter
// 18). The intrinsics take a tile's number as a literal, so kernels name tiles 0 to 7 themselves.
//
//   {
//     const Tiles tiles(kFullTiles);
//     _tile_zero(0);
//     _tile_loadd(4, weights, weights_stride);  // 16 rows of 64 bytes, any alignment
//     _tile_loadd(6, panel, 64);                // [16 quarters of the depth][16 columns][4 values]
//     _tile_dpbssd(0, 4, 6);                    // int32 [16][16] += weights · panel
//     _tile_stored(0, sums, 64);
//   }                                           // the thread's tiles are free again
//
// Only for Isa::kAmx: there the operating system has granted tiles to all threads of the process.
#pragma once

#include <cstdint>

#include <immintrin.h>

namespace shoehorn::amx {
namespace {

inline constexpr std::int64_t kTileRows = 16;
inline constexpr std::int64_t kTileRowBytes = 64;

// What LDTILECFG reads: palette 1, then for each tile the bytes of a row and the rows.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};
static_assert(sizeof(TileShapes) == 64);

constexpr TileShapes full_tiles() {
  TileShapes shapes;
  for (int tile = 0; tile < 8; ++tile) {
    shapes.row_bytes[tile] = kTileRowBytes;
    shapes.rows[tile] = kTileRows;
  }
  return shapes;
}

// All eight tiles at their largest, for int8 (64 values a row) and bfloat16 (32): matrices that end
// within a tile are padded with zeros in memory rather than by another shape.
inline constexpr TileShapes kFullTiles = full_tiles();

// GCC 12 does not know that tile loads and LDTILECFG read memory: whoever has written, in the same
// function, what a tile is loaded from calls this in between, or the stores may come too late.
inline void memory_is_written() {
  asm volatile("" ::: "memory");
}

// Shapes this thread's tiles while it lives, all zero at first. Configuring costs some tens of
// nanoseconds: once a piece of work, not once a product. Released afterwards, so that the system
// has no 8 KiB of tiles to save for the thread, and other code finds them as if never used.
class Tiles {
 public:
  explicit Tiles(const TileShapes& shapes) {
    memory_is_written();
    _tile_loadconfig(&shapes);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

}  // namespace
}  // namespace shoehorn::amx
