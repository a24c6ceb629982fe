// Dot products of a few rows of x with NF4 and FP4 weights, bound by reading the packed bytes or by
// looking codes up, whichever the card is slower at.
//
// Both codes of a byte are looked up at once: a table in shared memory holds the two values of each
// of the 256 bytes, sixteen times over, a copy for each lane of half a warp, so that lanes never
// meet in a bank. Looking up costs the shared memory what it costs to read four bytes a value, as
// much again as reading a value of x: so x is read once for several rows of W, laid out such that
// the 32 values beside a lane's 16 bytes are eight conflict-free reads.
//
// One block of threads stays on each multiprocessor and walks over the outputs of one weight: the
// table is made once.
#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include "kernels/dot_parts_cuda.h"
#include "kernels/four_bit_job_cuda.h"
#include "kernels/instructions_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarp;
constexpr int kCodes = 32;   // in 16 bytes: what a lane works on at a time
constexpr int kCopies = 16;  // of the table
constexpr int kEntryBytes = kCopies * static_cast<int>(sizeof(float2));
constexpr int kTableBytes = 256 * kEntryBytes;
static_assert(kEntryBytes == 128);

// Odd, so that the eight quarters of a chunk lie in different banks when they are written.
__host__ __device__ constexpr int pitch_of(int chunks) {
  return chunks | 1;
}

__device__ float4 rounded(const float4& four, ComputeDtype dtype) {
  if (dtype == ComputeDtype::kBF16) {
    return {to_float(__nv_bfloat16(four.x)), to_float(__nv_bfloat16(four.y)),
            to_float(__nv_bfloat16(four.z)), to_float(__nv_bfloat16(four.w))};
  }
  if (dtype == ComputeDtype::kF16) {
    return {to_float(__half(four.x)), to_float(__half(four.y)), to_float(__half(four.z)),
            to_float(__half(four.w))};
  }
  return four;
}

// The two values of every byte, the earlier one of the high four bits first.
__device__ void make_table(const float* quant_map, std::uint32_t table) {
  constexpr int kPairsOfCopies = kCopies / 2;
  for (int i = static_cast<int>(threadIdx.x); i < 256 * kPairsOfCopies; i += kThreads) {
    const int byte = i / kPairsOfCopies;
    const std::uint32_t earlier = __float_as_uint(quant_map[byte >> 4]);
    const std::uint32_t later = __float_as_uint(quant_map[byte & 15]);
    store_shared(table + static_cast<std::uint32_t>(i) * 16, {earlier, later, earlier, later});
  }
}

// x4[(m * 8 + q) * pitch + c] = values 4 q .. 4 q + 3 of chunk c of row m.
template <int kRows>
__device__ void stage_x(const FourBitJob& job, int first_chunk, int chunks, float4* x4) {
  const int pitch = pitch_of(job.tile_chunks);
  const int fours = chunks * (kCodes / 4);
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    if (m >= job.rows) break;
    const auto* const from = reinterpret_cast<const float4*>(job.x + std::int64_t{m} * job.k +
                                                             std::int64_t{first_chunk} * kCodes);
    for (int i = static_cast<int>(threadIdx.x); i < fours; i += kThreads) {
      x4[(m * 8 + i % 8) * pitch + i / 8] = rounded(from[i], job.dtype);
    }
  }
}

// What a lane needs of one chunk of each of its rows of W.
template <int kOutputs>
struct Loads {
  uint4 codes[kOutputs];
  float scale[kOutputs];  // absmax; nested: nested_absmax
  std::uint32_t scale_code[kOutputs];
};

template <int kOutputs, bool kNested>
__device__ void load(const FourBitPart& part, const std::int64_t (&rows)[kOutputs], int chunk,
                     int block_shift, Loads<kOutputs>& loads) {
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    // Rows are whole chunks, so chunks are numbered through the weight.
    const std::int64_t flat = rows[o] + chunk;
    const std::int64_t block = flat * kCodes >> block_shift;
    loads.codes[o] = load_once(part.at.packed + flat * 16);
    if constexpr (kNested) {
      loads.scale_code[o] = __ldg(part.at.absmax_codes + block);
      loads.scale[o] = __ldg(part.at.nested_absmax + block / kNestedBlocksize);
    } else {
      loads.scale[o] = __ldg(part.at.absmax + block);
    }
  }
}

// Adds the products of one chunk to sums.
template <int kRows, int kOutputs, bool kNested>
__device__ void multiply(const Loads<kOutputs>& loads, const float4* x4, int pitch,
                         std::uint32_t own, const float* nested_map, float nested_offset,
                         float (&sums)[kOutputs][kRows]) {
  float chunk_sums[kOutputs][kRows] = {};
#pragma unroll
  for (int q = 0; q < 8; ++q) {
    float4 x[kRows];
#pragma unroll
    for (int m = 0; m < kRows; ++m) x[m] = x4[(m * 8 + q) * pitch];
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      const std::uint32_t words[4] = {loads.codes[o].x, loads.codes[o].y, loads.codes[o].z,
                                      loads.codes[o].w};
      const std::uint32_t word = words[q / 2];
      // Bytes 2 q and 2 q + 1 of the 16, times kEntryBytes.
      constexpr std::uint32_t kMask = 255U * kEntryBytes;
      const std::uint32_t first = (q % 2 == 0 ? word << 7 : word >> 9) & kMask;
      const std::uint32_t second = (q % 2 == 0 ? word >> 1 : word >> 17) & kMask;
      const float2 a = load_shared_pair(first | own);
      const float2 b = load_shared_pair(second | own);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        float sum = chunk_sums[o][m];
        sum = __fmaf_rn(a.x, x[m].x, sum);
        sum = __fmaf_rn(a.y, x[m].y, sum);
        sum = __fmaf_rn(b.x, x[m].z, sum);
        chunk_sums[o][m] = __fmaf_rn(b.y, x[m].w, sum);
      }
    }
  }
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    float absmax = loads.scale[o];
    if constexpr (kNested) {
      absmax = __fadd_rn(__fmul_rn(nested_map[loads.scale_code[o]], absmax), nested_offset);
    }
#pragma unroll
    for (int m = 0; m < kRows; ++m) sums[o][m] = __fmaf_rn(absmax, chunk_sums[o][m], sums[o][m]);
  }
}

template <int kRows, int kOutputs, bool kNested>
__global__ void __launch_bounds__(kThreads, 1)
    dot_four_bit(const __grid_constant__ FourBitJob job) {
  __shared__ float nested_map[256];
  SHOEHORN_DYNAMIC_SHARED(std::byte, shared);
  let_next_begin();
  // At a multiple of its size: bits of codes are put into its address.
  const std::uint32_t table = aligned_address(shared_address(shared), kTableBytes);
  auto* const x4 =
      reinterpret_cast<float4*>(shared + (table - shared_address(shared)) + kTableBytes);

  const FourBitPart& part = job.of_block(blockIdx.x);
  const int block = static_cast<int>(blockIdx.x) - part.first_block;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::uint32_t own =
      table | static_cast<std::uint32_t>(lane % kCopies * static_cast<int>(sizeof(float2)));
  const int chunks = job.k / kCodes;
  const int pitch = pitch_of(job.tile_chunks);
  const bool is_one_tile = job.tile_chunks >= chunks;
  const std::int64_t groups = (part.n + kOutputs - 1) / kOutputs;
  const std::int64_t step = std::int64_t{part.blocks} * kWarps;

  make_table(part.at.quant_map, table);
  float nested_offset = 0;
  if constexpr (kNested) {
    for (int i = static_cast<int>(threadIdx.x); i < 256; i += kThreads) {
      nested_map[i] = part.at.nested_quant_map[i];
    }
    nested_offset = *part.at.nested_offset;
  }
  // The first codes are on their way before x is there.
  const std::int64_t own_group = std::int64_t{warp} * part.blocks + block;
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const std::int64_t n = own_group * kOutputs + o;
    for (int chunk = lane; chunk < min(chunks, 4 * kWarp) && n < part.n; chunk += kWarp) {
      prefetch(part.at.packed + (n * chunks + chunk) * 16);
    }
  }
  follow();
  if (is_one_tile) stage_x<kRows>(job, 0, chunks, x4);
  __syncthreads();

  // Neighbouring groups go to different multiprocessors, so that all have nearly as many. Every
  // warp of a block takes as many turns, since they meet where x comes in tiles.
  for (std::int64_t turn = 0; turn * step + block < groups; ++turn) {
    const std::int64_t group = turn * step + std::int64_t{warp} * part.blocks + block;
    const bool has_group = group < groups;
    std::int64_t first_chunks[kOutputs];  // of the rows, in the weight
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      const std::int64_t n = group * kOutputs + o;
      first_chunks[o] = (n < part.n ? n : part.n - 1) * chunks;
    }
    float sums[kOutputs][kRows] = {};
    for (int tile = 0; tile < chunks; tile += job.tile_chunks) {
      const int end = min(chunks - tile, job.tile_chunks);
      if (!is_one_tile) {
        __syncthreads();
        stage_x<kRows>(job, tile, end, x4);
        __syncthreads();
      }
      if (!has_group) continue;
      // Two chunks on their way while one is worked on.
      Loads<kOutputs> even;
      Loads<kOutputs> odd;
      if (lane < end)
        load<kOutputs, kNested>(part, first_chunks, tile + lane, job.block_shift, even);
      if (lane + kWarp < end) {
        load<kOutputs, kNested>(part, first_chunks, tile + lane + kWarp, job.block_shift, odd);
      }
      for (int chunk = lane; chunk < end; chunk += 2 * kWarp) {
        multiply<kRows, kOutputs, kNested>(even, x4 + chunk, pitch, own, nested_map, nested_offset,
                                           sums);
        if (chunk + 2 * kWarp < end) {
          load<kOutputs, kNested>(part, first_chunks, tile + chunk + 2 * kWarp, job.block_shift,
                                  even);
        }
        if (chunk + kWarp < end) {
          multiply<kRows, kOutputs, kNested>(odd, x4 + chunk + kWarp, pitch, own, nested_map,
                                             nested_offset, sums);
        }
        if (chunk + 3 * kWarp < end) {
          load<kOutputs, kNested>(part, first_chunks, tile + chunk + 3 * kWarp, job.block_shift,
                                  odd);
        }
      }
    }
    if (!has_group) continue;
    const float sum = collect_sums<kOutputs, kRows>(sums, 1, nullptr);
    const int m = lane % kRows;
    const std::int64_t n = group * kOutputs + lane / kRows;
    if (lane < kOutputs * kRows && m < job.rows && n < part.n) {
      const DotPart to{.bias = part.bias, .y = part.y, .n = part.n, .accumulate = part.accumulate};
      store_output(to, m, n, sum);
    }
  }
}

template <int kRows, int kOutputs, bool kNested>
void launch(FourBitJob& job, const Queue& queue) {
  const Card& card = queue.card();
  share_blocks(job, card.multiprocessors, kOutputs);
  const int chunks = job.k / kCodes;
  constexpr std::size_t kStaticBytes = 2 * kTableBytes + 2048;  // and what is small
  const std::size_t room = card.shared_bytes_per_block - kStaticBytes;
  const auto most_chunks = static_cast<int>(room / (kRows * kCodes * sizeof(float))) - 1;
  // Whole steps of the loop, so that tiles change no order of sums. The least that a card of
  // compute capability 8.0 or more gives a block, 99 KiB, has room for one with eight rows.
  assert(most_chunks >= kWarp);
  job.tile_chunks = chunks <= most_chunks ? chunks : most_chunks / kWarp * kWarp;
  const std::size_t bytes = 2 * kTableBytes + static_cast<std::size_t>(pitch_of(job.tile_chunks)) *
                                                  kRows * kCodes * sizeof(float);
  const auto kernel = dot_four_bit<kRows, kOutputs, kNested>;
  queue.make_current();
  allow_shared(queue, kernel, bytes);
  const FourBitPart& last = job.parts[job.count - 1];
  launch_following(queue, "linear_four_bit", kernel,
                   static_cast<unsigned>(last.first_block + last.blocks), kThreads, bytes, job);
}

template <bool kNested>
void launch_rows(FourBitJob& job, const Queue& queue) {
  std::int64_t outputs = 0;
  for (int i = 0; i < job.count; ++i) outputs += job.parts[i].n;
  // Four rows of W a warp where all warps then have some.
  const bool is_large = outputs >= std::int64_t{32} * queue.card().multiprocessors;
  if (job.rows == 1) {
    return is_large ? launch<1, 4, kNested>(job, queue) : launch<1, 2, kNested>(job, queue);
  }
  if (job.rows == 2) return launch<2, 4, kNested>(job, queue);
  if (job.rows <= 4) return launch<4, 2, kNested>(job, queue);
  launch<8, 2, kNested>(job, queue);
}

}  // namespace

bool takes_four_bit_dot(const WeightView& weight, const Activations& x) {
  return weight.form.is_four_bit() && x.k > 0 && x.k % kCodes == 0 &&
         are_aligned_16({weight.data, x.x});
}

void linear_four_bit_dot(std::span<const LinearTask> tasks, const Activations& x,
                         const Queue& queue) {
  FourBitJob job = four_bit_job(tasks, x);
  if (job.count == 0) return;
  if (tasks.front().weight->form.nested) {
    launch_rows<true>(job, queue);
  } else {
    launch_rows<false>(job, queue);
  }
}

}  // namespace shoehorn::cuda
