// Dot products of a few rows of x with NF4 and FP4 weights on tensor cores, where the compute dtype
// has 16 bits: half the look-ups in shared memory of linear_four_bit_cuda.cu, and up to eight rows
// of x at the price of one.
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
#include "kernels/weight_loads_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kTileRows = 16;                 // rows of W together
constexpr int kCodes = 32;                    // a chunk: 16 bytes
constexpr int kStepChunks = 4;                // of a row in a step: a chunk a lane
constexpr int kItemChunks = 2 * kStepChunks;  // in an item: what a warp loads at a time
constexpr int kEntryBytes = kWarp * 4;        // of the table: a pair of values for each lane
constexpr int kTableBytes = 256 * kEntryBytes;
static_assert(kEntryBytes == 128);
constexpr int kSlots = 16;  // sums of a group of rows that are put together, one a warp's share
static_assert(kSlots == kWarps);
// Turns after which sums are put together: these many rows of x and groups of rows of W.
constexpr int kSlotRows = 16;

// How a lane takes part in a product.
struct Columns {
  int parts = 1;  // of 128 values, by the block they are in: 1, 2 or 4
  int g = 0;
  int t = 0;

  // Row of x that column c stands for, and the part of it that is not zero.
  __device__ int row(int c) const { return c / parts; }
  __device__ bool has(int c) const { return t * parts / kStepChunks == c % parts; }
};

// x16[unit_of(m, c, q)]: values 8 q .. 8 q + 7 of chunk c of row m. Such that the eight lanes that
// shared memory serves at a time are in different banks: two rows, four chunks.
__device__ int unit_of(int m, int chunk, int q, int chunks) {
  return (m * chunks + chunk) * 4 + (q ^ (chunk >> 1 & 1) ^ (m & 1) << 1);
}

// What a lane needs of an item: rows g and g + 8 of the group, two steps, two blocks each.
struct Loads {
  uint4 codes[2][2];
  float scale[2][2][2];  // absmax; nested: nested_absmax
  std::uint32_t scale_code[2][2][2];
};

// Where a warp is in its block's work: groups of rows, items of columns.
struct Cursor {
  int group = 0;
  int item = 0;

  __device__ void settle(int items) {
    while (item >= items) {
      item -= items;
      ++group;
    }
  }
  __device__ void advance(int items) {
    item += kWarps;
    settle(items);
  }
};

struct Tiles {
  const FourBitPart& part;
  int block = 0;   // among those of the part
  int groups = 0;  // of this block
  int chunks = 0;  // of a row
  int items = 0;   // of a row
  int block_shift = 0;
  Columns columns;

  __device__ std::int64_t first_row(int group) const {
    return (std::int64_t{group} * part.blocks + block) * kTileRows;
  }

  template <bool kNested>
  __device__ void load(const Cursor& at, Loads& loads) const {
    if (at.group >= groups) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      // Rows behind the last read it again and are not stored.
      const std::int64_t n = min(first_row(at.group) + columns.g + 8 * r, part.n - 1);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int first = at.item * kItemChunks + h * kStepChunks;
        const int chunk = first + columns.t;
        loads.codes[r][h] = chunk < chunks ? load_once(part.at.packed + (n * chunks + chunk) * 16)
                                           : uint4{0, 0, 0, 0};
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          // The column 2 t + c of a product, or all of its columns.
          const int part_chunks = kStepChunks / columns.parts;
          const int inside = (2 * columns.t + c) % columns.parts * part_chunks;
          const bool is_there = first + inside < chunks;
          const std::int64_t in_weight =
              ((n * chunks + first + inside) * kCodes) >> block_shift;
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
  }
};

// The two values of a byte as float16: byte i of `word`. `own` is the lane's copy in an entry.
template <int i>
__device__ std::uint32_t look_up(const std::byte* table, std::uint32_t word, std::uint32_t own) {
  constexpr std::uint32_t kMask = 255U * kEntryBytes;
  constexpr int kShift = 8 * i - 7;
  const std::uint32_t entry = kShift < 0 ? word << (kShift < 0 ? -kShift : 0)
                                         : word >> (kShift < 0 ? 0 : kShift);
  return *reinterpret_cast<const std::uint32_t*>(table + ((entry & kMask) | own));
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
__device__ void stage_x(const FourBitJob& job, int padded_chunks, uint4* x16, float* inverses) {
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
      for (const float value : {four.x, four.y, four.z, four.w}) {
        largest = max(largest, __float_as_uint(rounded(fabsf(value), job.dtype)));
      }
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
  for (int i = thread; i < padded_chunks * 4; i += warps_each * kWarp) {
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
    x16[unit_of(m, i / 4, i % 4, padded_chunks)] = eight;
  }
}

// sums[set][r][c] += the products of one item: rows g + 8 r of W, column 8 set + 2 t + c.
template <int kSets, bool kNested>
__device__ void multiply(const Tiles& tiles, const Loads& loads, int item, int rows,
                         const uint4* x16, const std::byte* table, const float* nested_map,
                         float nested_offset, float (&sums)[kSets][2][2]) {
  const std::uint32_t own = threadIdx.x % kWarp * 4;
  const Columns& columns = tiles.columns;
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const int chunk = item * kItemChunks + h * kStepChunks + columns.t;
    float d[kSets][4] = {};
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      uint4 b[kSets];
#pragma unroll
      for (int set = 0; set < kSets; ++set) {
        const int column = 8 * set + columns.g;
        const int m = columns.row(column);
        b[set] = m < rows && columns.has(column)
                     ? x16[unit_of(m, chunk, q, tiles.items * kItemChunks)]
                     : uint4{0, 0, 0, 0};
      }
      const uint4& upper = loads.codes[0][h];
      const uint4& lower = loads.codes[1][h];
      const std::uint32_t w0 = q == 0 ? upper.x : q == 1 ? upper.y : q == 2 ? upper.z : upper.w;
      const std::uint32_t w1 = q == 0 ? lower.x : q == 1 ? lower.y : q == 2 ? lower.z : lower.w;
      const std::uint32_t first[4] = {look_up<0>(table, w0, own), look_up<0>(table, w1, own),
                                      look_up<1>(table, w0, own), look_up<1>(table, w1, own)};
      const std::uint32_t second[4] = {look_up<2>(table, w0, own), look_up<2>(table, w1, own),
                                       look_up<3>(table, w0, own), look_up<3>(table, w1, own)};
#pragma unroll
      for (int set = 0; set < kSets; ++set) {
        mma_16x8x16<__half>(d[set], first, b[set].x, b[set].y);
        mma_16x8x16<__half>(d[set], second, b[set].z, b[set].w);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float absmax = loads.scale[r][h][c];
        if constexpr (kNested) {
          absmax = __fadd_rn(__fmul_rn(nested_map[loads.scale_code[r][h][c]], absmax),
                             nested_offset);
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
template <int kSets>
__device__ void leave(const Columns& columns, int rows, float (&sums)[kSets][2][2], float* slots) {
#pragma unroll
  for (int set = 0; set < kSets; ++set) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int at = columns.g + 8 * r;
      const int column = 8 * set + 2 * columns.t;
      float sum = sums[set][r][0];
      if (columns.parts == 1) {
        if (column < rows) slots[column * kTileRows + at] = sum;
        if (column + 1 < rows) slots[(column + 1) * kTileRows + at] = sums[set][r][1];
      } else {
        sum = __fadd_rn(sum, sums[set][r][1]);
        if (columns.parts == 4) sum = __fadd_rn(sum, __shfl_xor_sync(kAllLanes, sum, 1));
        const int m = columns.row(column);
        if (m < rows && column % columns.parts == 0) slots[m * kTileRows + at] = sum;
      }
      sums[set][r][0] = 0;
      sums[set][r][1] = 0;
    }
  }
}

template <int kSets, bool kNested>
__global__ void __launch_bounds__(kThreads, 1)
    dot_four_bit_tiles(const __grid_constant__ FourBitJob job) {
  __shared__ __align__(128) std::byte table[kTableBytes];
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
  const int in_step = max(1, 4 * kCodes >> job.block_shift);  // blocks in 128 values
  const Tiles tiles{.part = part,
                    .block = block,
                    .groups = (all_groups - block + part.blocks - 1) / part.blocks,
                    .chunks = chunks,
                    .items = items,
                    .block_shift = job.block_shift,
                    .columns = {.parts = in_step, .g = lane / 4, .t = lane % 4}};

  Cursor at{.item = warp};
  at.settle(items);
  Cursor ahead = at;
  Loads now;
  tiles.load<kNested>(ahead, now);
  ahead.advance(items);
  // Weights are on their way; now the table, and then x.
  constexpr int kFours = kTableBytes / 16;
  for (int i = static_cast<int>(threadIdx.x); i < kFours; i += kThreads) {
    const int byte = i / (kWarp / 4);
    const std::uint32_t pair =
        pack_pair<__half>(part.at.quant_map[byte >> 4], part.at.quant_map[byte & 15]);
    reinterpret_cast<uint4*>(table)[i] = {pair, pair, pair, pair};
  }
  float nested_offset = 0;
  if constexpr (kNested) {
    for (int i = static_cast<int>(threadIdx.x); i < 256; i += kThreads) {
      nested_map[i] = part.at.nested_quant_map[i];
    }
    nested_offset = *part.at.nested_offset;
  }
  follow();
  const int turn_groups = kSlotRows / rows;
  auto* const slots = reinterpret_cast<float*>(shared);
  auto* const x16 =
      reinterpret_cast<uint4*>(slots + turn_groups * kSlots * rows * kTileRows);
  stage_x(job, items * kItemChunks, x16, inverses);
  __syncthreads();

  float sums[kSets][2][2] = {};
  for (int first = 0; first < tiles.groups; first += turn_groups) {
    const int end = min(first + turn_groups, tiles.groups);
    while (at.group < end) {
      Loads next;
      tiles.load<kNested>(ahead, next);
      ahead.advance(items);
      multiply<kSets, kNested>(tiles, now, at.item, rows, x16, table, nested_map, nested_offset,
                               sums);
      const Cursor done = at;
      at.advance(items);
      if (at.group != done.group) {
        // All items of this warp in the group have this remainder, and no other warp's have it.
        const int slot = (done.group - first) * kSlots + done.item % kSlots;
        leave<kSets>(tiles.columns, rows, sums, slots + slot * rows * kTileRows);
      }
      now = next;
    }
    __syncthreads();
    const int used = min(items, kSlots);
    for (int i = static_cast<int>(threadIdx.x); i < (end - first) * rows * kTileRows;
         i += kThreads) {
      const int group = i / (rows * kTileRows);
      const int in_slot = i % (rows * kTileRows);
      const std::int64_t n = tiles.first_row(first + group) + in_slot % kTileRows;
      const int m = in_slot / kTileRows;
      float sum = 0;
      for (int slot = 0; slot < used; ++slot) {
        sum = __fadd_rn(sum, slots[(group * kSlots + slot) * rows * kTileRows + in_slot]);
      }
      if (n >= part.n) continue;
      const DotPart to{.bias = part.bias, .y = part.y, .n = part.n, .accumulate = part.accumulate};
      store_output(to, m, n, __fmul_rn(sum, inverses[m]));
    }
    __syncthreads();
  }
}

std::size_t shared_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t slots = kSlotRows / rows * kSlots * rows * kTileRows * 4;
  return static_cast<std::size_t>(slots + rows * ceil_div(k, kItemChunks * kCodes) * kItemChunks *
                                              kCodes * 2);
}

// Rows of x that fit shared memory beside the table; 0: not even one.
std::int64_t most_rows(std::int64_t k, const Card& card) {
  constexpr std::size_t kStaticBytes = kTableBytes + 3072;  // and what is small
  std::int64_t rows = kMostDotRows;
  while (rows > 0 && shared_bytes(rows, k) + kStaticBytes > card.shared_bytes_per_block) --rows;
  return rows;
}

template <int kSets, bool kNested>
void launch(const FourBitJob& job, const Queue& queue) {
  const auto kernel = dot_four_bit_tiles<kSets, kNested>;
  const std::size_t bytes = shared_bytes(job.rows, job.k);
  queue.make_current();
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(bytes)),
        "cudaFuncSetAttribute", queue.ordinal(), bytes);
  const FourBitPart& last = job.parts[job.count - 1];
  launch_following(queue, "linear_four_bit_tiles", kernel,
                   static_cast<unsigned>(last.first_block + last.blocks), kThreads, bytes, job);
}

template <bool kNested>
void launch_sets(const FourBitJob& job, const Queue& queue) {
  const int columns = job.rows * std::max(1, 4 * kCodes >> job.block_shift);
  if (columns <= 8) return launch<1, kNested>(job, queue);
  if (columns <= 16) return launch<2, kNested>(job, queue);
  launch<4, kNested>(job, queue);
}

}  // namespace

bool takes_four_bit_tiles(const WeightView& weight, const Activations& x, const Card& card) {
  const ComputeDtype dtype = weight.compute.dtype;
  return takes_four_bit_dot(weight, x) &&
         (dtype == ComputeDtype::kBF16 || dtype == ComputeDtype::kF16) &&
         x.k % std::min<std::int64_t>(weight.form.blocksize, 4 * kCodes) == 0 &&
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
    if (tasks.front().weight->form.nested) {
      launch_sets<true>(some, queue);
    } else {
      launch_sets<false>(some, queue);
    }
  }
}

}  // namespace shoehorn::cuda
