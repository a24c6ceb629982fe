// Four-bit weights on their way to the kernel of linear_four_bit_tiles_cuda.cu: which part of a
// weight a warp works on, and what a lane loads of it. Included by .cu files only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/four_bit_job_cuda.h"
#include "kernels/instructions_cuda.h"
#include "kernels/lanes_cuda.h"

namespace shoehorn::cuda {

inline constexpr int kTileThreads = 512;
inline constexpr int kTileWarps = kTileThreads / kWarp;
inline constexpr int kTileRows = 16;    // rows of W together
inline constexpr int kChunkCodes = 32;  // a chunk: 16 bytes
inline constexpr int kStepChunks = 4;   // of a row in a step: a chunk a lane
inline constexpr int kItemSteps = 2;    // in an item: what a warp loads at a time
inline constexpr int kItemChunks = kItemSteps * kStepChunks;

// What a lane needs of an item: rows g and g + 8 of a group, and of each step a block for each of
// its two columns of a product.
template <bool kNested>
struct TileLoads {
  uint4 codes[2][kItemSteps];
  float scale[2][kItemSteps][2];  // absmax; nested: nested_absmax
  std::uint32_t scale_code[2][kItemSteps][2];
};

// An item: a group of rows among those of its block, and columns.
struct TilePlace {
  int group;
  int item;
  std::uint32_t chunk;  // its first, from the block's first row on
};

// From an item of a warp to its next, by kTileWarps items.
struct TileStride {
  int items;  // of a row
  int groups;
  int left;  // items
  std::uint32_t chunks;
  std::uint32_t chunks_at_end;  // what is added where a group of rows ends

  __device__ TileStride(int row_items, std::uint32_t group_chunks)
      : items(row_items),
        groups(kTileWarps / row_items),
        left(kTileWarps % row_items),
        chunks(static_cast<std::uint32_t>(groups) * group_chunks +
               static_cast<std::uint32_t>(left * kItemChunks)),
        chunks_at_end(group_chunks - static_cast<std::uint32_t>(row_items * kItemChunks)) {}

  __device__ TilePlace first(int warp, std::uint32_t group_chunks) const {
    const int group = warp / items;
    const int item = warp % items;
    return {group, item,
            static_cast<std::uint32_t>(group) * group_chunks +
                static_cast<std::uint32_t>(item * kItemChunks)};
  }
  __device__ TilePlace after(TilePlace at) const {
    at.group += groups;
    at.item += left;
    at.chunk += chunks;
    if (at.item < items) return at;
    return {at.group + 1, at.item - items, at.chunk + chunks_at_end};
  }
};

// kParts: blocks that 128 values lie in, 1, 2 or 4. Column c of a product is row c / kParts of x,
// zero but for part c % kParts of the 128 values. kWhole: every item is there in full, and its
// blocks begin at a multiple of their number. kGated: rows g + 8 are those of `up`.
template <int kParts, bool kNested, bool kWhole, bool kGated>
struct WeightTiles {
  static_assert(!kWhole || kParts == 2);
  static_assert(!kGated || kWhole);
  static constexpr int kOutputs = kGated ? kTileRows / 2 : kTileRows;  // of a group

  const FourBitPart& part;
  int block = 0;   // among those of the part
  int blocks = 0;  // of the part
  int rows = 0;    // of W
  int groups = 0;  // of this block
  int chunks = 0;  // of a row
  int block_shift = 0;
  int g = 0;  // lane / 4: row of W, column of x
  int t = 0;  // lane % 4: chunk of a step
  // kWhole: what the lane reads of the block's first item, in rows g and g + 8.
  const std::uint8_t* codes[2] = {};
  const std::byte* scales[2] = {};    // absmax; nested: absmax_codes
  std::uint32_t first_scale[2] = {};  // nested: its number in the weight

  __device__ WeightTiles(const FourBitJob& job, const FourBitPart& its_part, int its_block,
                         int lane)
      : part(its_part),
        block(its_block),
        blocks(its_part.blocks),
        rows(static_cast<int>(its_part.n)),
        groups(((rows + kOutputs - 1) / kOutputs - block + blocks - 1) / blocks),
        chunks(job.k / kChunkCodes),
        block_shift(job.block_shift),
        g(lane / 4),
        t(lane % 4) {
    if constexpr (kWhole) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const FourBitAddresses& at = source(r);
        const int row = block * kOutputs + g + (kGated ? 0 : 8 * r);
        const std::int64_t chunk = std::int64_t{row} * chunks;
        codes[r] = at.packed + (chunk + t) * 16;
        if constexpr (kNested) {
          scales[r] = reinterpret_cast<const std::byte*>(at.absmax_codes + chunk / 2);
          first_scale[r] = static_cast<std::uint32_t>(chunk / 2);
        } else {
          scales[r] = reinterpret_cast<const std::byte*>(at.absmax + chunk / 2);
        }
        keep(codes[r]);
        keep(scales[r]);
      }
    }
  }

  __device__ std::uint32_t group_chunks() const {
    return static_cast<std::uint32_t>(blocks * kOutputs) * static_cast<std::uint32_t>(chunks);
  }
  __device__ int first_row(int group) const {
    return (group * blocks + block) * kOutputs;
  }
  // Of rows g + 8 r.
  __device__ const FourBitAddresses& source(int r) const {
    return kGated && r == 1 ? part.up : part.at;
  }

  __device__ bool has(const TilePlace& at) const {
    return at.group < groups;
  }

  __device__ void load(const TilePlace& at, TileLoads<kNested>& loads) const {
#pragma unroll
    for (int h = 0; h < kItemSteps; ++h) load_codes(at, h, loads);
    load_scales(at, loads);
  }

  // Of step h. Zeros where the weight's rows end.
  __device__ void load_codes(const TilePlace& at, int h, TileLoads<kNested>& loads) const {
    if (!has(at)) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if constexpr (kWhole) {
        loads.codes[r][h] =
            load_once(codes[r] + std::int64_t{at.chunk} * 16 + h * kStepChunks * 16);
      } else {
        const int inside = at.item * kItemChunks + h * kStepChunks + t;
        loads.codes[r][h] = inside < chunks
                                ? load_once(part.at.packed + (row_chunk(at.group, r) + inside) * 16)
                                : uint4{0, 0, 0, 0};
      }
    }
  }

  __device__ void load_scales(const TilePlace& at, TileLoads<kNested>& loads) const {
    if (!has(at)) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if constexpr (kWhole) {
        load_whole_scales(at.chunk / 2, r, loads);
      } else {
#pragma unroll
        for (int h = 0; h < kItemSteps; ++h) load_step_scales(at, h, r, loads);
      }
    }
  }

 private:
  // The first chunk of the lane's row. Rows behind the last read it again and are not stored.
  __device__ std::int64_t row_chunk(int group, int r) const {
    return std::int64_t{min(first_row(group) + g + 8 * r, rows - 1)} * chunks;
  }

  // Of an item whose first block is `first` blocks behind the lane's.
  __device__ void load_whole_scales(std::uint32_t first, int r, TileLoads<kNested>& loads) const {
    static_assert(kItemSteps == 2, "four blocks");
    if constexpr (kNested) {
      const std::uint32_t some = __ldg(reinterpret_cast<const std::uint32_t*>(scales[r] + first));
      const float scale =
          __ldg(source(r).nested_absmax + (first_scale[r] + first) / kNestedBlocksize);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        loads.scale_code[r][i / 2][i % 2] = some >> (8 * i) & 255U;
        loads.scale[r][i / 2][i % 2] = scale;
      }
    } else {
      const float4 some =
          __ldg(reinterpret_cast<const float4*>(scales[r] + std::int64_t{first} * sizeof(float)));
      loads.scale[r][0][0] = some.x;
      loads.scale[r][0][1] = some.y;
      loads.scale[r][1][0] = some.z;
      loads.scale[r][1][1] = some.w;
    }
  }

  __device__ void load_step_scales(const TilePlace& at, int h, int r,
                                   TileLoads<kNested>& loads) const {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      if (kParts == 1 && c == 1) {
        loads.scale[r][h][1] = loads.scale[r][h][0];
        loads.scale_code[r][h][1] = loads.scale_code[r][h][0];
        continue;
      }
      const int inside =
          at.item * kItemChunks + h * kStepChunks + (2 * t + c) % kParts * (kStepChunks / kParts);
      const bool is_there = inside < chunks;
      const std::int64_t in_weight =
          ((row_chunk(at.group, r) + inside) * kChunkCodes) >> block_shift;
      if constexpr (kNested) {
        loads.scale_code[r][h][c] = is_there ? __ldg(part.at.absmax_codes + in_weight) : 0;
        loads.scale[r][h][c] =
            is_there ? __ldg(part.at.nested_absmax + in_weight / kNestedBlocksize) : 0.0F;
      } else {
        loads.scale[r][h][c] = is_there ? __ldg(part.at.absmax + in_weight) : 0.0F;
      }
    }
  }
};

}  // namespace shoehorn::cuda
