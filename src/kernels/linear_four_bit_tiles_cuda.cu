// Dot products of a few rows of x with NF4 and FP4 weights on tensor cores, where the compute dtype
// has 16 bits: half the look-ups in shared memory of linear_four_bit_cuda.cu, and eight rows of x
// at less than twice the price of one.
//
// Both codes of a byte are looked up at once as two float16, in a table with a copy for each lane.
// What a lane looks up is what mma_16x8x16 wants of its first operand: sixteen rows of W against
// eight columns. The sum of a product must stay within a block of W, whose absmax scales it, but
// four neighbouring lanes hold 128 values of a row: so each row of x is as many columns as there
// are blocks in 128 values, each of them zero outside its block.
//
// Codes are rounded to float16 (by at most 2^-12 of their value; bitsandbytes rounds code · absmax
// to the compute dtype, 2^-9 for bfloat16), and so is x, after it was rounded to the compute dtype
// and scaled by a power of two that brings its largest value into float16's range: exact but for
// values below 2^-31 of that. Sums and scales are float32.
//
// One block of threads stays on each multiprocessor. Its warps share the columns of sixteen rows of
// W at a time, 256 columns each in turn; their sums are put together after some turns.
#include <algorithm>

#include <cuda_runtime_api.h>

#include "cuda/check.h"
#include "kernels/dot_parts_cuda.h"
#include "kernels/four_bit_job_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/mma_cuda.h"
#include "kernels/shared_loads_cuda.h"
#include "kernels/weight_loads_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kTileRows = 16;                 // rows of W together
constexpr int kCodes = 32;                    // a chunk: 16 bytes
constexpr int kStepChunks = 4;                // of a row in a step: a chunk a lane
constexpr int kItemChunks = 2 * kStepChunks;  // in an item: what a warp loads at a time
constexpr int kUnitBytes = 16;                // of x: eight values
constexpr int kChunkBytes = kCodes * 2;       // of x
// Of the table: a pair of values for each lane, and as much unused, so that a byte of codes is a
// byte of its entry's address.
constexpr int kEntryBytes = 256;
constexpr int kTableBytes = 256 * kEntryBytes;
constexpr int kSlots = kWarps;  // sums of a group of rows that are put together, one a warp's share
constexpr int kSlotRows = 16;   // rows of x times groups of rows of W after which they are
constexpr int kSlotBytes = kSlotRows * kSlots * kTileRows * 4;
// The table is at a multiple of its size. Slots come before it and then rows of x, as many as there
// is room for; the others behind it.
constexpr int kMostStatic = 4096;                                    // before dynamic shared memory
constexpr int kRoomBefore = kTableBytes - kMostStatic - kSlotBytes;  // of x

__host__ __device__ constexpr int rows_before(int rows, int row_bytes) {
  return row_bytes * rows <= kRoomBefore ? rows : kRoomBefore / row_bytes;
}

// Rows of x in shared memory.
struct XRows {
  std::uint32_t before;  // address of the first
  std::uint32_t behind;  // of the first behind the table
  int count_before;
  int padded_chunks;  // of a row

  __device__ std::uint32_t chunk(int m, int chunk) const {
    const bool is_before = m < count_before;
    const int row = is_before ? m : m - count_before;
    return (is_before ? before : behind) +
           static_cast<std::uint32_t>((row * padded_chunks + chunk) * kChunkBytes);
  }
};

// Where the eight values q of a chunk of row m of x are in a chunk: such that the eight lanes that
// shared memory serves at a time, two rows and four chunks, are in different banks.
__device__ std::uint32_t unit_offset(int m, int chunk, int q) {
  return static_cast<std::uint32_t>((q ^ (chunk >> 1 & 1) ^ (m & 1) << 1) * kUnitBytes);
}

// What a lane needs of an item: rows g and g + 8 of a group, two steps, a block for each of its two
// columns of a product.
template <bool kNested>
struct Loads {
  uint4 codes[2][2];
  float scale[2][2][2];  // absmax; nested: nested_absmax
  std::uint32_t scale_code[2][2][2];
};

// Where a warp is in its block's work: groups of rows, items of columns.
struct Cursor {
  int group = 0;
  int item = 0;

  __device__ Cursor(int warp, int items) : group(warp / items), item(warp % items) {}
  // By kWarps items: whole groups, and what is left.
  __device__ void advance(int items, int groups, int left) {
    group += groups;
    item += left;
    if (item < items) return;
    item -= items;
    ++group;
  }
};

// kParts: blocks that 128 values lie in, 1, 2 or 4. Column c of a product is row c / kParts of x,
// zero but for part c % kParts of the 128 values.
template <int kParts, bool kNested>
struct Tiles {
  const FourBitPart& part;
  int block = 0;   // among those of the part
  int groups = 0;  // of this block
  int chunks = 0;  // of a row
  int items = 0;   // of a row
  int block_shift = 0;
  int g = 0;  // lane / 4: row of W, column of x
  int t = 0;  // lane % 4: chunk of a step

  __device__ int first_row(int group) const { return (group * part.blocks + block) * kTileRows; }

  __device__ void load(const Cursor& at, Loads<kNested>& loads) const {
    if (at.group >= groups) return;
    const int first = at.item * kItemChunks;
    const int left = chunks - first;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      // Rows behind the last read it again and are not stored.
      const int n = min(first_row(at.group) + g + 8 * r, static_cast<int>(part.n) - 1);
      const int in_weight = n * chunks + first;
      const std::uint8_t* const codes = part.at.packed + std::int64_t{in_weight + t} * 16;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        loads.codes[r][h] = h * kStepChunks + t < left ? load_once(codes + h * kStepChunks * 16)
                                                       : uint4{0, 0, 0, 0};
      }
      load_scales(in_weight, left, r, loads);
    }
  }

  // Of the item that begins at a chunk of the weight; its row has `left` more.
  __device__ void load_scales(int first, int left, int r, Loads<kNested>& loads) const {
    if (kParts == 2 && chunks % kItemChunks == 0) {
      // Four blocks that begin at a multiple of four.
      const int in_weight = first / 2;
      if constexpr (kNested) {
        const std::uint32_t codes =
            __ldg(reinterpret_cast<const std::uint32_t*>(part.at.absmax_codes + in_weight));
        const float scale = __ldg(part.at.nested_absmax + in_weight / kNestedBlocksize);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          loads.scale_code[r][i / 2][i % 2] = codes >> (8 * i) & 255U;
          loads.scale[r][i / 2][i % 2] = scale;
        }
      } else {
        const float4 four = __ldg(reinterpret_cast<const float4*>(part.at.absmax + in_weight));
        loads.scale[r][0][0] = four.x;
        loads.scale[r][0][1] = four.y;
        loads.scale[r][1][0] = four.z;
        loads.scale[r][1][1] = four.w;
      }
      return;
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        if (kParts == 1 && c == 1) {
          loads.scale[r][h][1] = loads.scale[r][h][0];
          loads.scale_code[r][h][1] = loads.scale_code[r][h][0];
          continue;
        }
        const int inside = h * kStepChunks + (2 * t + c) % kParts * (kStepChunks / kParts);
        const bool is_there = inside < left;
        const std::int64_t in_weight = (std::int64_t{first + inside} * kCodes) >> block_shift;
        if constexpr (kNested) {
          loads.scale_code[r][h][c] = is_there ? __ldg(part.at.absmax_codes + in_weight) : 0;
          loads.scale[r][h][c] =
              is_there ? __ldg(part.at.nested_absmax + in_weight / kNestedBlocksize) : 0.0F;
        } else {
          loads.scale[r][h][c] = is_there ? __ldg(part.at.absmax + in_weight) : 0.0F;
        }
      }
    }
  }
};

// The two values of a byte as float16: byte i of `word`. `own` is the address of the lane's copy in
// the first entry.
template <int i>
__device__ std::uint32_t look_up(std::uint32_t word, std::uint32_t own) {
  return load_shared_word(__byte_perm(word, own, 0x7604 | i << 4));
}

// The largest magnitude of each row of x decides the power of two that it is multiplied with.
__device__ float scale_for(std::uint32_t largest) {
  const int exponent = static_cast<int>(largest >> 23);
  if (exponent == 0 || exponent == 255) return 1.0F;  // zeros; infinities stay what they are
  const int wanted = min(max(14 - (exponent - 127), -126), 126);
  return __uint_as_float(static_cast<std::uint32_t>(wanted + 127) << 23);
}

__device__ float rounded(float value, ComputeDtype dtype) {
  return dtype == ComputeDtype::kBF16 ? to_float(__nv_bfloat16(value)) : value;
}

// Rounds and scales x, each row by an equal share of the warps. `inverses` [rows] undo the scales.
__device__ void stage_x(const FourBitJob& job, const XRows& x, float* inverses) {
  __shared__ std::uint32_t maxima[kWarps];
  int warps_each = kWarps;
  while (warps_each * job.rows > kWarps) warps_each /= 2;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int m = warp / warps_each;
  const bool has_row = m < job.rows;
  const int thread = static_cast<int>(threadIdx.x) % (warps_each * kWarp);
  const auto* const from =
      reinterpret_cast<const float4*>(job.x + std::int64_t{has_row ? m : 0} * job.k);
  std::uint32_t largest = 0;
  if (job.dtype == ComputeDtype::kBF16 && has_row) {
    for (int i = thread; i < job.k / 4; i += warps_each * kWarp) {
      const float4 four = from[i];
      const float most =
          fmaxf(fmaxf(fabsf(four.x), fabsf(four.y)), fmaxf(fabsf(four.z), fabsf(four.w)));
      largest = max(largest, __float_as_uint(rounded(most, job.dtype)));
    }
  }
  largest = __reduce_max_sync(kAllLanes, largest);
  if (threadIdx.x % kWarp == 0) maxima[warp] = largest;
  __syncthreads();
  if (!has_row) return;
  for (int other = m * warps_each; other < (m + 1) * warps_each; ++other) {
    largest = max(largest, maxima[other]);
  }
  const float scale = scale_for(largest);
  if (thread == 0) inverses[m] = __fdiv_rn(1.0F, scale);
  for (int i = thread; i < x.padded_chunks * 4; i += warps_each * kWarp) {
    uint4 eight = {0, 0, 0, 0};
    if (i * 8 < job.k) {
      const float4 a = from[2 * i];
      const float4 b = from[2 * i + 1];
      const auto pair = [&](float first, float second) {
        return pack_pair<__half>(__fmul_rn(rounded(first, job.dtype), scale),
                                 __fmul_rn(rounded(second, job.dtype), scale));
      };
      eight = {pair(a.x, a.y), pair(a.z, a.w), pair(b.x, b.y), pair(b.z, b.w)};
    }
    const int chunk = i / 4;
    store_shared(x.chunk(m, chunk) + unit_offset(m, chunk, i % 4), eight);
  }
}

// A lane's share of x in products: for each set of eight columns, where its values are.
template <int kParts, int kSets>
struct Share {
  bool has[kSets];
  std::uint32_t address[kSets];  // of chunk t, q = 0
  uint4 units[kSets][4];         // zeros where the lane has none

  __device__ Share(int g, int t, int rows, const XRows& x) {
#pragma unroll
    for (int set = 0; set < kSets; ++set) {
      const int column = 8 * set + g;
      const int m = column / kParts;
      has[set] = m < rows && t * kParts / kStepChunks == column % kParts;
      // An item is eight chunks, so the place in a chunk is the lane's for all items.
      address[set] = x.chunk(m, t) + unit_offset(m, t, 0);
#pragma unroll
      for (int q = 0; q < 4; ++q) units[set][q] = {0, 0, 0, 0};
    }
  }

  __device__ void load(int chunk) {
#pragma unroll
    for (int set = 0; set < kSets; ++set) {
      const std::uint32_t at = address[set] + static_cast<std::uint32_t>(chunk * kChunkBytes);
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        load_shared_if(has[set], at ^ static_cast<std::uint32_t>(q * kUnitBytes), units[set][q]);
      }
    }
  }
};

// sums[set][r][c] += the products of one item: rows g + 8 r of W, column 8 set + 2 t + c.
template <int kParts, int kSets, bool kNested>
__device__ void multiply(const Loads<kNested>& loads, int item, Share<kParts, kSets>& share,
                         std::uint32_t own, const float* nested_map, float nested_offset,
                         float (&sums)[kSets][2][2]) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float d[kSets][4] = {};
    share.load(item * kItemChunks + h * kStepChunks);
    const std::uint32_t upper[4] = {loads.codes[0][h].x, loads.codes[0][h].y, loads.codes[0][h].z,
                                    loads.codes[0][h].w};
    const std::uint32_t lower[4] = {loads.codes[1][h].x, loads.codes[1][h].y, loads.codes[1][h].z,
                                    loads.codes[1][h].w};
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const std::uint32_t first[4] = {look_up<0>(upper[q], own), look_up<0>(lower[q], own),
                                      look_up<1>(upper[q], own), look_up<1>(lower[q], own)};
      const std::uint32_t second[4] = {look_up<2>(upper[q], own), look_up<2>(lower[q], own),
                                       look_up<3>(upper[q], own), look_up<3>(lower[q], own)};
#pragma unroll
      for (int set = 0; set < kSets; ++set) {
        mma_16x8x16<__half>(d[set], first, share.units[set][q].x, share.units[set][q].y);
        mma_16x8x16<__half>(d[set], second, share.units[set][q].z, share.units[set][q].w);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float absmax = loads.scale[r][h][c];
        if constexpr (kNested) {
          absmax =
              __fadd_rn(__fmul_rn(nested_map[loads.scale_code[r][h][c]], absmax), nested_offset);
        }
#pragma unroll
        for (int set = 0; set < kSets; ++set) {
          sums[set][r][c] = __fmaf_rn(absmax, d[set][2 * r + c], sums[set][r][c]);
        }
      }
    }
  }
}

// Leaves a warp's sums of a group of rows in slots [rows][kTileRows].
template <int kParts, int kSets>
__device__ void leave(int g, int t, int rows, float (&sums)[kSets][2][2], float* slots) {
#pragma unroll
  for (int set = 0; set < kSets; ++set) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int at = g + 8 * r;
      const int column = 8 * set + 2 * t;
      float sum = sums[set][r][0];
      if constexpr (kParts == 1) {
        if (column < rows) slots[column * kTileRows + at] = sum;
        if (column + 1 < rows) slots[(column + 1) * kTileRows + at] = sums[set][r][1];
      } else {
        sum = __fadd_rn(sum, sums[set][r][1]);
        if (kParts == 4) sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, 1));
        const int m = column / kParts;
        if (m < rows && column % kParts == 0) slots[m * kTileRows + at] = sum;
      }
      sums[set][r][0] = 0;
      sums[set][r][1] = 0;
    }
  }
}

// Puts the sums of a turn's groups of rows together, in the order of slots, and stores them.
template <int kParts, bool kNested>
__device__ void finish(const Tiles<kParts, kNested>& tiles, int first, int end, int rows,
                       const float* slots, const float* inverses) {
  const FourBitPart& part = tiles.part;
  const DotPart to{.bias = part.bias, .y = part.y, .n = part.n, .accumulate = part.accumulate};
  const int used = min(tiles.items, kSlots);
  for (int i = static_cast<int>(threadIdx.x); i < (end - first) * rows * kTileRows; i += kThreads) {
    const int group = i / (rows * kTileRows);
    const int in_slot = i % (rows * kTileRows);
    const int m = in_slot / kTileRows;
    const int n = tiles.first_row(first + group) + in_slot % kTileRows;
    const float* const from = slots + group * kSlots * rows * kTileRows + in_slot;
    float sum = 0;
    for (int slot = 0; slot < used; ++slot) sum = __fadd_rn(sum, from[slot * rows * kTileRows]);
    if (n < part.n) store_output(to, m, n, __fmul_rn(sum, inverses[m]));
  }
}

template <int kParts, int kSets, bool kNested>
__global__ void __launch_bounds__(kThreads, 1)
    dot_four_bit_tiles(const __grid_constant__ FourBitJob job) {
  __shared__ float nested_map[256];
  __shared__ float inverses[kMostDotRows];
  extern __shared__ __align__(128) std::byte shared[];
  let_next_begin();
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int rows = job.rows;
  const FourBitPart& part = job.of_block(blockIdx.x);
  const int block = static_cast<int>(blockIdx.x) - part.first_block;
  const auto all_groups = static_cast<int>((part.n + kTileRows - 1) / kTileRows);
  const int chunks = job.k / kCodes;
  const int items = (chunks + kItemChunks - 1) / kItemChunks;
  const Tiles<kParts, kNested> tiles{.part = part,
                                     .block = block,
                                     .groups = (all_groups - block + part.blocks - 1) / part.blocks,
                                     .chunks = chunks,
                                     .items = items,
                                     .block_shift = job.block_shift,
                                     .g = lane / 4,
                                     .t = lane % 4};

  const int step_groups = kWarps / items;
  const int step_items = kWarps % items;
  Cursor at(warp, items);
  Cursor ahead = at;
  Loads<kNested> even;
  Loads<kNested> odd;
  tiles.load(ahead, even);
  ahead.advance(items, step_groups, step_items);
  // Weights are on their way; now the table, and then x.
  auto* const slots = reinterpret_cast<float*>(shared);
  const std::uint32_t table = aligned_address(shared_address(shared) + kSlotBytes, kTableBytes);
  for (int i = static_cast<int>(threadIdx.x); i < 256 * (kWarp / 4); i += kThreads) {
    const int byte = i / (kWarp / 4);
    const std::uint32_t pair =
        pack_pair<__half>(part.at.quant_map[byte >> 4], part.at.quant_map[byte & 15]);
    store_shared(table + static_cast<std::uint32_t>(byte * kEntryBytes + i % (kWarp / 4) * 16),
                 {pair, pair, pair, pair});
  }
  float nested_offset = 0;
  if constexpr (kNested) {
    for (int i = static_cast<int>(threadIdx.x); i < 256; i += kThreads) {
      nested_map[i] = part.at.nested_quant_map[i];
    }
    nested_offset = *part.at.nested_offset;
  }
  const XRows x{.before = shared_address(shared) + kSlotBytes,
                .behind = table + kTableBytes,
                .count_before = rows_before(rows, items * kItemChunks * kChunkBytes),
                .padded_chunks = items * kItemChunks};
  follow();
  stage_x(job, x, inverses);
  __syncthreads();

  const std::uint32_t own = table | static_cast<std::uint32_t>(lane * 4);
  Share<kParts, kSets> share(tiles.g, tiles.t, rows, x);
  const int turn_groups = kSlotRows / rows;
  float sums[kSets][2][2] = {};
  bool is_odd = false;
  for (int first = 0; first < tiles.groups; first += turn_groups) {
    const int end = min(first + turn_groups, tiles.groups);
    // One item is worked on while the next one is on its way.
    const auto work = [&](const Loads<kNested>& loads, Loads<kNested>& next) {
      tiles.load(ahead, next);
      ahead.advance(items, step_groups, step_items);
      multiply<kParts, kSets, kNested>(loads, at.item, share, own, nested_map, nested_offset, sums);
      const Cursor done = at;
      at.advance(items, step_groups, step_items);
      if (at.group == done.group) return;
      // All items of this warp in the group have this remainder, and no other warp's have it.
      const int slot = (done.group - first) * kSlots + done.item % kSlots;
      leave<kParts, kSets>(tiles.g, tiles.t, rows, sums, slots + slot * rows * kTileRows);
    };
    while (at.group < end) {
      if (!is_odd) {
        work(even, odd);
        is_odd = true;
        if (at.group >= end) break;
      }
      work(odd, even);
      is_odd = false;
    }
    __syncthreads();
    finish(tiles, first, end, rows, slots, inverses);
    __syncthreads();
  }
}

std::size_t shared_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t row_bytes = ceil_div(k, kItemChunks * kCodes) * kItemChunks * kChunkBytes;
  const int before = rows_before(static_cast<int>(rows), static_cast<int>(row_bytes));
  return static_cast<std::size_t>(2 * kTableBytes + (rows - before) * row_bytes);
}

// Rows of x that fit shared memory beside the table; 0: not even one.
std::int64_t most_rows(std::int64_t k, const Card& card) {
  constexpr std::size_t kStaticBytes = 3072;  // what is small
  std::int64_t rows = kMostDotRows;
  while (rows > 0 && shared_bytes(rows, k) + kStaticBytes > card.shared_bytes_per_block) --rows;
  return rows;
}

template <int kParts, int kSets>
void launch(const FourBitJob& job, bool is_nested, const Queue& queue) {
  const auto kernel = is_nested ? dot_four_bit_tiles<kParts, kSets, true>
                                : dot_four_bit_tiles<kParts, kSets, false>;
  const std::size_t bytes = shared_bytes(job.rows, job.k);
  queue.make_current();
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "cudaFuncSetAttribute", queue.ordinal(), bytes);
  const FourBitPart& last = job.parts[job.count - 1];
  launch_following(queue, "linear_four_bit_tiles", kernel,
                   static_cast<unsigned>(last.first_block + last.blocks), kThreads, bytes, job);
}

void launch_parts(const FourBitJob& job, bool is_nested, const Queue& queue) {
  switch (job.block_shift) {
    case 5:
      if (job.rows <= 2) return launch<4, 1>(job, is_nested, queue);
      if (job.rows <= 4) return launch<4, 2>(job, is_nested, queue);
      return launch<4, 4>(job, is_nested, queue);
    case 6:
      if (job.rows <= 4) return launch<2, 1>(job, is_nested, queue);
      return launch<2, 2>(job, is_nested, queue);
    default: return launch<1, 1>(job, is_nested, queue);
  }
}

}  // namespace

bool takes_four_bit_tiles(const WeightView& weight, const Activations& x, const Card& card) {
  const ComputeDtype dtype = weight.compute.dtype;
  return takes_four_bit_dot(weight, x) &&
         (dtype == ComputeDtype::kBF16 || dtype == ComputeDtype::kF16) &&
         x.k % std::min<std::int64_t>(weight.form.blocksize, kStepChunks * kCodes) == 0 &&
         // Chunks are counted in 32 bits, and rows that do not fit do not either in a while.
         weight.shape[0] * x.k < std::int64_t{1} << 35 && x.k < std::int64_t{1} << 22 &&
         most_rows(x.k, card) > 0;
}

void linear_four_bit_tiles(std::span<const LinearTask> tasks, const Activations& x,
                           const Queue& queue) {
  FourBitJob job = four_bit_job(tasks, x);
  if (job.count == 0) return;
  share_blocks(job, queue.card().multiprocessors, kTileRows);
  const std::int64_t most = most_rows(x.k, queue.card());
  for (std::int64_t first = 0; first < x.rows; first += most) {
    const std::int64_t count = std::min(most, x.rows - first);
    FourBitJob some = job;
    some.x += first * x.k;
    some.rows = static_cast<int>(count);
    for (int i = 0; i < some.count; ++i) some.parts[i].y += first * some.parts[i].n;
    launch_parts(some, tasks.front().weight->form.nested, queue);
  }
}

}  // namespace shoehorn::cuda
