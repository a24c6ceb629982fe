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
// W at a time, 256 columns each in turn; their sums are put together after some turns. Where gate
// and up make one product, eight of the sixteen rows are of either, and what is stored is
// activation(gate) · up.
#include <algorithm>

#include "kernels/activation_cuda.h"
#include "kernels/dot_parts_cuda.h"
#include "kernels/four_bit_job_cuda.h"
#include "kernels/four_bit_tile_loads_cuda.h"
#include "kernels/four_bit_tile_rows_cuda.h"
#include "kernels/instructions_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/mma_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr std::int64_t kBlockOfGates = 64;  // the only blocksize of gated products
// Of the table: a pair of values for each lane, of either of two code books, so that a byte of
// codes is a byte of its entry's address.
constexpr int kEntryBytes = 256;
constexpr int kSecondBook = kEntryBytes / 2;
constexpr int kTableBytes = 256 * kEntryBytes;
// Sums of a group of rows that are put together, one a warp's share, and the rows of x times groups
// of rows of W after which they are.
constexpr int kSlots = kTileWarps;
constexpr int kSlotRows = 16;
constexpr int kSlotBytes = kSlotRows * kSlots * kTileRows * 4;
// The table is at a multiple of its size. Slots come before it and then rows of x, as many as there
// is room for; the others behind it.
constexpr int kMostStatic = 4096;                                    // before dynamic shared memory
constexpr int kRoomBefore = kTableBytes - kMostStatic - kSlotBytes;  // of x

__host__ __device__ constexpr int rows_before(int rows, int row_bytes) {
  return row_bytes * rows <= kRoomBefore ? rows : kRoomBefore / row_bytes;
}

// The two values of a byte as float16: byte i of `word`. `own` is the address of the lane's copy in
// the first entry.
template <int i>
__device__ std::uint32_t look_up(std::uint32_t word, std::uint32_t own) {
  return load_shared_word(__byte_perm(word, own, 0x7604 | i << 4));
}

// What an absmax that is itself in 8 bits means.
struct Nested {
  const float* map = nullptr;  // [256], in shared memory
  float offset = 0;
};

// sums[set][r][c] += the products of one item: rows g + 8 r of W, column 8 set + 2 t + c. What has
// been used of `loads` is at once asked for anew, of the item `ahead`.
template <int kParts, int kSets, bool kNested, bool kWhole, bool kGated>
__device__ void multiply(const WeightTiles<kParts, kNested, kWhole, kGated>& tiles, int item,
                         const TilePlace& ahead, TileLoads<kNested>& loads,
                         XShare<kParts, kSets>& share, std::uint32_t own, const Nested (&nested)[2],
                         float (&sums)[kSets][2][2]) {
  const std::uint32_t own_lower = kGated ? own | kSecondBook : own;
#pragma unroll
  for (int h = 0; h < kItemSteps; ++h) {
    float d[kSets][4] = {};
    if (h == 0) {
      share.template load<0>(item);
    } else {
      share.template load<1>(item);
    }
    const std::uint32_t upper[4] = {loads.codes[0][h].x, loads.codes[0][h].y, loads.codes[0][h].z,
                                    loads.codes[0][h].w};
    const std::uint32_t lower[4] = {loads.codes[1][h].x, loads.codes[1][h].y, loads.codes[1][h].z,
                                    loads.codes[1][h].w};
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      const std::uint32_t first[4] = {look_up<0>(upper[q], own), look_up<0>(lower[q], own_lower),
                                      look_up<1>(upper[q], own), look_up<1>(lower[q], own_lower)};
      const std::uint32_t second[4] = {look_up<2>(upper[q], own), look_up<2>(lower[q], own_lower),
                                       look_up<3>(upper[q], own), look_up<3>(lower[q], own_lower)};
#pragma unroll
      for (int set = 0; set < kSets; ++set) {
        mma_16x8x16<__half>(d[set], first, share.units[set][q].x, share.units[set][q].y);
        mma_16x8x16<__half>(d[set], second, share.units[set][q].z, share.units[set][q].w);
      }
    }
    tiles.load_codes(ahead, h, loads);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float absmax = loads.scale[r][h][c];
        if constexpr (kNested) {
          const Nested& of = nested[kGated ? r : 0];
          absmax = __fadd_rn(__fmul_rn(of.map[loads.scale_code[r][h][c]], absmax), of.offset);
        }
#pragma unroll
        for (int set = 0; set < kSets; ++set) {
          sums[set][r][c] = __fmaf_rn(absmax, d[set][2 * r + c], sums[set][r][c]);
        }
      }
    }
  }
  tiles.load_scales(ahead, loads);
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
template <int kParts, bool kNested, bool kWhole, bool kGated>
__device__ void finish(const WeightTiles<kParts, kNested, kWhole, kGated>& tiles, int items,
                       int first, int end, const FourBitJob& job, const float* slots,
                       const float* inverses) {
  constexpr int kOutputs = WeightTiles<kParts, kNested, kWhole, kGated>::kOutputs;
  const FourBitPart& part = tiles.part;
  const DotPart to{.bias = part.bias, .y = part.y, .n = part.n, .accumulate = part.accumulate};
  const int used = min(items, kSlots);
  const int slot_floats = job.rows * kTileRows;
  const auto sum_of = [&](const float* from) {
    float sum = 0;
    for (int slot = 0; slot < used; ++slot) sum = __fadd_rn(sum, from[slot * slot_floats]);
    return sum;
  };
  for (int i = static_cast<int>(threadIdx.x); i < (end - first) * job.rows * kOutputs;
       i += kTileThreads) {
    const int group = i / (job.rows * kOutputs);
    const int m = i / kOutputs % job.rows;
    const int output = i % kOutputs;
    const int n = tiles.first_row(first + group) + output;
    const float* const from = slots + group * kSlots * slot_floats + m * kTileRows + output;
    const float value = __fmul_rn(sum_of(from), inverses[m]);
    if constexpr (kGated) {
      const float up = __fmul_rn(sum_of(from + kOutputs), inverses[m]);
      part.y[m * part.n + n] = activated(job.activation, plus_bias(value, part.bias, n)) *
                               plus_bias(up, part.up_bias, n);
    } else {
      if (n < part.n) store_output(to, m, n, value);
    }
  }
}

// Both values of each byte by a code book, of which each lane has value lane % 16, a copy for each
// lane.
__device__ void build_table(float code, std::uint32_t table) {
  constexpr int kCopyUnits = kSecondBook / 16;
  for (int i = static_cast<int>(threadIdx.x); i < 256 * kCopyUnits; i += kTileThreads) {
    const int byte = i / kCopyUnits;
    const std::uint32_t pair = pack_pair<__half>(__shfl_sync(kAllLanes, code, byte >> 4),
                                                 __shfl_sync(kAllLanes, code, byte & 15));
    store_shared(table + static_cast<std::uint32_t>(byte * kEntryBytes + i % kCopyUnits * 16),
                 {pair, pair, pair, pair});
  }
}

template <int kParts, int kSets, bool kNested, bool kWhole, bool kGated>
__global__ void __launch_bounds__(kTileThreads, 1)
    dot_four_bit_tiles(const __grid_constant__ FourBitJob job) {
  constexpr int kWeights = kGated ? 2 : 1;
  __shared__ float nested_maps[kNested ? kWeights : 1][256];
  __shared__ float inverses[kMostDotRows];
  SHOEHORN_DYNAMIC_SHARED(std::byte, shared);
  let_next_begin();
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int rows = job.rows;
  const FourBitPart& part = job.of_block(blockIdx.x);
  float codes[kWeights];
  codes[0] = part.at.quant_map[lane % 16];
  if constexpr (kGated) codes[1] = part.up.quant_map[lane % 16];
  const WeightTiles<kParts, kNested, kWhole, kGated> tiles(
      job, part, static_cast<int>(blockIdx.x) - part.first_block, lane);
  const int items = (tiles.chunks + kItemChunks - 1) / kItemChunks;
  const TileStride stride(items, tiles.group_chunks());
  TilePlace at = stride.first(warp, tiles.group_chunks());
  TilePlace next = stride.after(at);
  TileLoads<kNested> even;
  TileLoads<kNested> odd;
  tiles.load(at, even);
  tiles.load(next, odd);
  auto* const slots = reinterpret_cast<float*>(shared);
  const std::uint32_t table = aligned_address(shared_address(shared) + kSlotBytes, kTableBytes);
  const XRows x{.before = shared_address(shared) + kSlotBytes,
                .behind = table + kTableBytes,
                .count_before = rows_before(rows, items * kItemChunks * kChunkBytes),
                .padded_chunks = items * kItemChunks};
  // Weights are on their way; now the table, and then x.
#pragma unroll
  for (int i = 0; i < kWeights; ++i) {
    build_table(codes[i], table + static_cast<std::uint32_t>(i * kSecondBook));
  }
  Nested nested[2];
  if constexpr (kNested) {
#pragma unroll
    for (int w = 0; w < kWeights; ++w) {
      const FourBitAddresses& from = tiles.source(w);
      for (int i = static_cast<int>(threadIdx.x); i < 256; i += kTileThreads) {
        nested_maps[w][i] = from.nested_quant_map[i];
      }
      nested[w] = {nested_maps[w], *from.nested_offset};
    }
  }
  follow();
  XStaging(job).store(x, inverses);
  __syncthreads();

  const std::uint32_t own = table | static_cast<std::uint32_t>(lane * 4);
  XShare<kParts, kSets> share(tiles.g, tiles.t, rows, x);
  const int turn_groups = kSlotRows / rows;
  float sums[kSets][2][2] = {};
  bool is_odd = false;
  for (int first = 0; first < tiles.groups; first += turn_groups) {
    const int end = min(first + turn_groups, tiles.groups);
    // One item is worked on while two more are on their way.
    const auto work = [&](TileLoads<kNested>& loads) {
      const TilePlace ahead = stride.after(next);
      multiply(tiles, at.item, ahead, loads, share, own, nested, sums);
      if (next.group != at.group) {
        // All items of this warp in the group have this remainder, and no other warp's have it.
        const auto slot = static_cast<int>(static_cast<unsigned>(at.item) % kSlots);
        leave<kParts, kSets>(tiles.g, tiles.t, rows, sums,
                             slots + ((at.group - first) * kSlots + slot) * rows * kTileRows);
      }
      at = next;
      next = ahead;
    };
    while (at.group < end) {
      if (!is_odd) {
        work(even);
        is_odd = true;
        if (at.group >= end) break;
      }
      work(odd);
      is_odd = false;
    }
    __syncthreads();
    finish(tiles, items, first, end, job, slots, inverses);
    __syncthreads();
  }
}

std::size_t shared_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t row_bytes = ceil_div(k, kItemChunks * kChunkCodes) * kItemChunks * kChunkBytes;
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

template <int kParts, int kSets, bool kWhole = false, bool kGated = false>
void launch(const FourBitJob& job, bool is_nested, const Queue& queue) {
  const auto kernel = is_nested ? dot_four_bit_tiles<kParts, kSets, true, kWhole, kGated>
                                : dot_four_bit_tiles<kParts, kSets, false, kWhole, kGated>;
  const std::size_t bytes = shared_bytes(job.rows, job.k);
  queue.make_current();
  allow_shared(queue, kernel, bytes);
  const FourBitPart& last = job.parts[job.count - 1];
  launch_following(queue, "linear_four_bit_tiles", kernel,
                   static_cast<unsigned>(last.first_block + last.blocks), kTileThreads, bytes, job);
}

bool is_whole(std::int64_t k) {
  return k % (kItemChunks * kChunkCodes) == 0;
}

void launch_parts(const FourBitJob& job, bool is_nested, const Queue& queue) {
  const bool has_whole_items =
      is_whole(job.k) && std::all_of(job.parts, job.parts + job.count, [](const FourBitPart& part) {
        return part.n % kTileRows == 0;
      });
  switch (job.block_shift) {
    case 5:
      if (job.rows <= 2) return launch<4, 1>(job, is_nested, queue);
      if (job.rows <= 4) return launch<4, 2>(job, is_nested, queue);
      return launch<4, 4>(job, is_nested, queue);
    case 6:
      if (has_whole_items) {
        if (job.rows <= 4) return launch<2, 1, true>(job, is_nested, queue);
        return launch<2, 2, true>(job, is_nested, queue);
      }
      if (job.rows <= 4) return launch<2, 1>(job, is_nested, queue);
      return launch<2, 2>(job, is_nested, queue);
    default: return launch<1, 1>(job, is_nested, queue);
  }
}

void launch_gated(const FourBitJob& job, bool is_nested, const Queue& queue) {
  if (job.rows <= 4) return launch<2, 1, true, true>(job, is_nested, queue);
  launch<2, 2, true, true>(job, is_nested, queue);
}

// `run` of the job's rows of x, as many at a time as fit shared memory.
template <typename Run>
void in_turns(const FourBitJob& job, const Activations& x, const Queue& queue, const Run& run) {
  const std::int64_t most = most_rows(x.k, queue.card());
  for (std::int64_t first = 0; first < x.rows; first += most) {
    FourBitJob some = job;
    some.x += first * x.k;
    some.rows = static_cast<int>(std::min(most, x.rows - first));
    for (int i = 0; i < some.count; ++i) some.parts[i].y += first * some.parts[i].n;
    run(some);
  }
}

}  // namespace

bool takes_four_bit_tiles(const WeightView& weight, const Activations& x, const Card& card) {
  const ComputeDtype dtype = weight.compute.dtype;
  return takes_four_bit_dot(weight, x) &&
         (dtype == ComputeDtype::kBF16 || dtype == ComputeDtype::kF16) &&
         x.k % std::min<std::int64_t>(weight.form.blocksize, kStepChunks * kChunkCodes) == 0 &&
         // Chunks are counted in 32 bits, and rows that do not fit do not either in a while.
         weight.shape[0] * x.k < std::int64_t{1} << 35 && x.k < std::int64_t{1} << 22 &&
         most_rows(x.k, card) > 0;
}

void linear_four_bit_tiles(std::span<const LinearTask> tasks, const Activations& x,
                           const Queue& queue) {
  FourBitJob job = four_bit_job(tasks, x);
  if (job.count == 0) return;
  share_blocks(job, queue.card().multiprocessors, kTileRows);
  in_turns(job, x, queue, [&](const FourBitJob& some) {
    launch_parts(some, tasks.front().weight->form.nested, queue);
  });
}

bool takes_four_bit_gate(const LinearTask& gate, const LinearTask& up, const Activations& x,
                         const Card& card) {
  const WeightForm& form = gate.weight->form;
  const std::int64_t n = gate.weight->shape[0];
  return takes_four_bit_tiles(*gate.weight, x, card) && takes_four_bit_tiles(*up.weight, x, card) &&
         form.blocksize == kBlockOfGates && up.weight->form.blocksize == form.blocksize &&
         up.weight->form.nested == form.nested &&
         up.weight->compute.dtype == gate.weight->compute.dtype && up.weight->shape[0] == n &&
         n > 0 && n % (kTileRows / 2) == 0 && is_whole(x.k) && !gate.accumulate;
}

void linear_four_bit_gate(Activation activation, const LinearTask& gate, const LinearTask& up,
                          const Activations& x, const Queue& queue) {
  FourBitJob job = four_bit_job({&gate, 1}, x);
  job.activation = activation;
  job.parts[0].up = four_bit_addresses(*up.weight);
  job.parts[0].up_bias = up.bias.empty() ? nullptr : up.bias.data();
  share_blocks(job, queue.card().multiprocessors, kTileRows / 2);
  in_turns(job, x, queue,
           [&](const FourBitJob& some) { launch_gated(some, gate.weight->form.nested, queue); });
}

}  // namespace shoehorn::cuda
