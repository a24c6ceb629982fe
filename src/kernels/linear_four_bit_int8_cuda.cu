// Dot products of a few rows of x in int8 with NF4 and FP4 weights (linear_four_bit_int8.h): the
// code book in int8 fits four registers, from which byte permutations look eight codes up at once,
// and four products are one instruction. Neither shared memory nor a float a code is needed, so
// that reading the packed bytes is what takes the time.
#include <bit>
#include <cstdint>

#include "kernels/dot_parts_cuda.h"
#include "kernels/formats_cuda.h"
#include "kernels/instructions_cuda.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/linear_four_bit_int8_paths.h"

namespace shoehorn::cuda {
namespace {

constexpr int kCodes = 32;     // in 16 bytes: what a lane works on at a time
constexpr int kRunsShift = 1;  // chunks of kCodes to a run of x: log2
static_assert(kInt8Run == kCodes << kRunsShift);

/// Rows of x in int8 on the card. Neighbours are swapped: a byte holds an even value in its high
/// half, the next one in its low half, so that the lower of two codes in a word is the later value.
struct QuantizedX {
  std::int8_t* q = nullptr;  // [rows, k]
  float* scale = nullptr;    // [rows, k / kInt8Run]
};

// A warp a run.
__global__ void __launch_bounds__(kDotThreads)
    quantize_runs(const float* x, const std::int64_t runs, const QuantizedX out) {
  let_next_begin();
  follow();
  const std::int64_t run = std::int64_t{blockIdx.x} * kDotWarps + threadIdx.x / kWarp;
  if (run >= runs) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const float2 two = reinterpret_cast<const float2*>(x + run * kInt8Run)[lane];
  // By their bits: a NaN is above infinity, which is above every number.
  const std::uint32_t most = __reduce_max_sync(
      kAllLanes, max(__float_as_uint(fabsf(two.x)), __float_as_uint(fabsf(two.y))));
  const float largest = __uint_as_float(most);
  const bool is_number = isfinite(largest);
  const bool counts = is_number && largest >= kLeastActivation;
  const float factor = counts ? __fdiv_rn(127.0F, largest) : 0.0F;
  const int first = counts ? __float2int_rn(__fmul_rn(two.x, factor)) : 0;
  const int second = counts ? __float2int_rn(__fmul_rn(two.y, factor)) : 0;
  reinterpret_cast<std::uint16_t*>(out.q + run * kInt8Run)[lane] =
      static_cast<std::uint16_t>((second & 255) | (first & 255) << 8);
  if (lane == 0) {
    out.scale[run] = !is_number ? __uint_as_float(0x7FC00000U)
                     : counts   ? __fmul_rn(largest, kInt8Step)
                                : 0.0F;
  }
}

struct Int8CodesPart {
  FourBitAddresses at;
  float factor = 1;  // f
};

struct FourBitInt8Job {
  DotParts parts;  // weight: packed
  Int8CodesPart codes[kMostLinearTasks];
  QuantizedX x;
  int rows = 0;
  int k = 0;
  int block_shift = 6;  // log2 of the blocksize
};

// The code book: codes 0 to 7 in the first two words, 8 to 15 in the others; and 1 / f. A map that
// goes beyond 1 takes a smaller f than the contract's, so that its codes fit.
struct CodeBook {
  std::uint32_t words[4] = {};
  float unit = 0;

  __device__ CodeBook(const float* quant_map, float factor) {
    float largest = 1;
#pragma unroll
    for (int i = 0; i < 16; ++i) largest = fmaxf(largest, fabsf(quant_map[i]));
    const float f = __fdiv_rn(factor, largest);
    unit = __fdiv_rn(1.0F, f);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int code = __float2int_rn(__fmul_rn(quant_map[i], f));
      words[i / 4] |= static_cast<std::uint32_t>(code & 255) << (8 * (i % 4));
    }
  }

  // Four codes: `low` their lower three bits, a half byte each in the lowest 16 bits, and `pick`
  // for each its place i, or i + 4 where the code is 8 or more.
  __device__ std::uint32_t look_up(std::uint32_t low, std::uint32_t pick) const {
    const std::uint32_t below_8 = __byte_perm(words[0], words[1], low);
    const std::uint32_t from_8 = __byte_perm(words[2], words[3], low);
    return __byte_perm(below_8, from_8, pick);
  }
};

// The sum of the products of eight codes with eight values of x.
__device__ int dot_of_8(const CodeBook& book, std::uint32_t packed, std::uint32_t x_low,
                        std::uint32_t x_high, int sum) {
  const std::uint32_t low = packed & 0x77777777U;
  const std::uint32_t pick = (packed >> 1 & 0x44444444U) | 0x32103210U;
  sum = __dp4a(static_cast<int>(book.look_up(low, pick)), static_cast<int>(x_low), sum);
  return __dp4a(static_cast<int>(book.look_up(low >> 16, pick >> 16)), static_cast<int>(x_high),
                sum);
}

template <int kOutputs>
struct Loads {
  uint4 codes[kOutputs];
  float absmax[kOutputs];  // nested: nested_absmax
  std::uint32_t absmax_code[kOutputs];
};

template <int kRows, int kOutputs, bool kNested>
__global__ void __launch_bounds__(kDotThreads)
    dot_four_bit_int8(const __grid_constant__ FourBitInt8Job job) {
  constexpr int kCount = kOutputs * kRows;
  constexpr int kSteps = kRows <= 2 ? 4 : 2;  // chunks of a lane on their way
  __shared__ float scratch[kDotWarps * kCount];
  __shared__ float nested_map[256];
  let_next_begin();
  const DotPart& part = job.parts.of_block(blockIdx.x);
  const Int8CodesPart& codes = job.codes[&part - job.parts.at];
  const FourBitAddresses& at = codes.at;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int split = part.split;
  const std::int64_t group =
      std::int64_t{blockIdx.x - static_cast<unsigned>(part.first_block)} * (kDotWarps / split) +
      warp / split;
  const int chunks = job.k / kCodes;
  std::int64_t first_chunk[kOutputs];  // of the rows, in the weight
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    const std::int64_t n = group * kOutputs + o;
    first_chunk[o] = (n < part.n ? n : part.n - 1) * chunks;
  }
  float nested_offset = 0;
  if constexpr (kNested) {
    for (int i = static_cast<int>(threadIdx.x); i < 256; i += kDotThreads) {
      nested_map[i] = at.nested_quant_map[i];
    }
    nested_offset = *at.nested_offset;
    __syncthreads();
  }
  const CodeBook book(at.quant_map, codes.factor);

  float sums[kOutputs][kRows] = {};
  bool has_followed = false;
  const int stride = split * kWarp;
  for (int chunk = warp % split * kWarp + lane; chunk < chunks; chunk += kSteps * stride) {
    Loads<kOutputs> loads[kSteps];
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int now = chunk + s * stride;
      if (now >= chunks) continue;
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
        const std::int64_t flat = first_chunk[o] + now;
        const std::int64_t block = flat * kCodes >> job.block_shift;
        loads[s].codes[o] = load_once(at.packed + flat * 16);
        if constexpr (kNested) {
          loads[s].absmax_code[o] = __ldg(at.absmax_codes + block);
          loads[s].absmax[o] = __ldg(at.nested_absmax + block / kNestedBlocksize);
        } else {
          loads[s].absmax[o] = __ldg(at.absmax + block);
        }
      }
    }
    // The first weights are on their way before x is there.
    if (!has_followed) follow();
    has_followed = true;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int now = chunk + s * stride;
      if (now >= chunks) continue;
      float absmax[kOutputs];
#pragma unroll
      for (int o = 0; o < kOutputs; ++o) {
        absmax[o] = loads[s].absmax[o];
        if constexpr (kNested) {
          absmax[o] =
              __fadd_rn(__fmul_rn(nested_map[loads[s].absmax_code[o]], absmax[o]), nested_offset);
        }
      }
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        const std::int64_t row = m < job.rows ? m : 0;
        const auto* const q =
            reinterpret_cast<const uint4*>(job.x.q + row * job.k + std::int64_t{now} * kCodes);
        const uint4 first = q[0];
        const uint4 second = q[1];
        const float scale = job.x.scale[row * (job.k / kInt8Run) + (now >> kRunsShift)];
#pragma unroll
        for (int o = 0; o < kOutputs; ++o) {
          const uint4& c = loads[s].codes[o];
          int sum = dot_of_8(book, c.x, first.x, first.y, 0);
          sum = dot_of_8(book, c.y, first.z, first.w, sum);
          sum = dot_of_8(book, c.z, second.x, second.y, sum);
          sum = dot_of_8(book, c.w, second.z, second.w, sum);
          sums[o][m] = __fmaf_rn(static_cast<float>(sum), __fmul_rn(absmax[o], scale), sums[o][m]);
        }
      }
    }
  }
  if (!has_followed) follow();

  const float sum = collect_sums<kOutputs, kRows>(sums, split, scratch);
  const int m = lane % kRows;
  const std::int64_t n = group * kOutputs + lane / kRows;
  if (warp % split == 0 && lane < kCount && m < job.rows && n < part.n) {
    store_output(part, m, n, __fmul_rn(sum, book.unit));
  }
}

template <int kRows, int kOutputs>
void run_dot(std::span<const LinearTask> tasks, const Activations& x, const QuantizedX& quantized,
             const Queue& queue) {
  const WeightForm& form = tasks.front().weight->form;
  FourBitInt8Job job{.parts = dot_parts(tasks, x.k, kCodes * kWarp, kOutputs, queue.card()),
                     .x = quantized,
                     .rows = static_cast<int>(x.rows),
                     .k = static_cast<int>(x.k),
                     .block_shift = std::countr_zero(static_cast<std::uint64_t>(form.blocksize))};
  if (job.parts.blocks == 0) return;
  int count = 0;
  for (const LinearTask& task : tasks) {
    if (task.weight->shape[0] == 0) continue;
    job.codes[count++] = {.at = four_bit_addresses(*task.weight),
                          .factor = four_bit_int8_factor(task.weight->form.quant_type)};
  }
  const auto kernel = form.nested ? dot_four_bit_int8<kRows, kOutputs, true>
                                  : dot_four_bit_int8<kRows, kOutputs, false>;
  launch_following(queue, "linear_four_bit_int8", kernel, static_cast<unsigned>(job.parts.blocks),
                   kDotThreads, 0, job);
}

}  // namespace

bool takes_four_bit_int8_dot(const WeightView& weight, const Activations& x) {
  return weight.form.is_four_bit() && weight.compute.dtype == ComputeDtype::kInt8 && x.k > 0 &&
         x.k % kInt8Run == 0 && weight.form.blocksize % kInt8Run == 0 &&
         x.k % weight.form.blocksize == 0 && are_aligned_16({weight.data, x.x});
}

void linear_four_bit_int8_dot(std::span<const LinearTask> tasks, const Activations& x,
                              ExecContext& ctx) {
  const Queue& queue = *ctx.queue;
  const std::size_t mark = ctx.workspace.mark();
  const std::int64_t runs = x.rows * (x.k / kInt8Run);
  const QuantizedX quantized{
      .q = ctx.workspace.take<std::int8_t>(static_cast<std::size_t>(x.rows * x.k)).data(),
      .scale = ctx.workspace.take<float>(static_cast<std::size_t>(runs)).data()};
  queue.make_current();
  launch_following(queue, "quantizing activations", quantize_runs,
                   static_cast<unsigned>(ceil_div(runs, std::int64_t{kDotWarps})), kDotThreads, 0,
                   x.x, runs, quantized);
  if (x.rows == 1) {
    run_dot<1, 2>(tasks, x, quantized, queue);
  } else if (x.rows == 2) {
    run_dot<2, 2>(tasks, x, quantized, queue);
  } else if (x.rows <= 4) {
    run_dot<4, 2>(tasks, x, quantized, queue);
  } else {
    run_dot<8, 2>(tasks, x, quantized, queue);
  }
  ctx.workspace.release(mark);
}

std::size_t linear_four_bit_int8_workspace_bytes(std::int64_t rows, std::int64_t k) {
  const std::int64_t few = std::min(rows, kMostDotRows);
  return static_cast<std::size_t>(few * (k + k / kInt8Run * 4)) + 2 * 64;
}

}  // namespace shoehorn::cuda
