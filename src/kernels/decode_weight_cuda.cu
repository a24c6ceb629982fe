#include <algorithm>

#include "kernels/decode_weight_cuda.h"
#include "kernels/formats_cuda.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 256;

// A block of threads for each row of `out`, a value a thread and step.
template <typename Format, typename Out>
__global__ void decode_values(const Format format, const std::int64_t first,
                              const std::int32_t* row_ids, const std::int64_t width, Out* out,
                              const std::int64_t ldo) {
  const std::int64_t row =
      row_ids != nullptr ? std::int64_t{row_ids[blockIdx.x]} : first + std::int64_t{blockIdx.x};
  Out* const to = out + std::int64_t{blockIdx.x} * ldo;
  for (std::int64_t i = threadIdx.x; i < ldo; i += kThreads) {
    to[i] = from_float<Out>(i < width ? format.value(row, i) : 0.0F);
  }
}

template <typename Format, typename Out>
void run_decode(const Format& format, std::int64_t first, const std::int32_t* row_ids,
                std::int64_t count, std::int64_t width, Out* out, std::int64_t ldo,
                const Queue& queue) {
  queue.make_current();
  constexpr std::int64_t kMostBlocks = 0x7FFFFFFF;
  // A grid has a limit that no table of a model reaches; row_ids then go on, and so does `first`.
  for (std::int64_t done = 0; done < count; done += kMostBlocks) {
    const auto blocks = static_cast<unsigned>(std::min(count - done, kMostBlocks));
    launch_in_turn(queue, "decode_rows", decode_values<Format, Out>, blocks, kThreads, 0, format,
                   first + done, row_ids == nullptr ? nullptr : row_ids + done, width,
                   out + done * ldo, ldo);
  }
}

template <typename Out>
struct Eight {
  alignas(sizeof(Out) * 8) Out at[8];
};

// Eight codes of whole rows a thread: 4 bytes in, 16 out. A table of 16 words is without bank
// conflicts: lanes ask for the same word or for different banks.
template <typename Out, bool kNested>
__global__ void decode_four_bit_eights(const FourBitAddresses at, const std::int64_t first_eight,
                                       const std::int64_t eights, const int block_shift, Out* out) {
  __shared__ float map[16];
  if (threadIdx.x < 16) map[threadIdx.x] = at.quant_map[threadIdx.x];
  __syncthreads();
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= eights) return;
  const std::int64_t block = (first_eight + i) * 8 >> block_shift;
  float absmax;
  if constexpr (kNested) {
    const float scaled = __fmul_rn(at.nested_quant_map[at.absmax_codes[block]],
                                   at.nested_absmax[block / kNestedBlocksize]);
    absmax = __fadd_rn(scaled, *at.nested_offset);
  } else {
    absmax = at.absmax[block];
  }
  const std::uint32_t codes = reinterpret_cast<const std::uint32_t*>(at.packed)[first_eight + i];
  Eight<Out> values;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    // Byte j / 2, the earlier value in its high four bits.
    const std::uint32_t code = codes >> (8 * (j / 2) + (j % 2 == 0 ? 4 : 0)) & 15;
    values.at[j] = from_float<Out>(__fmul_rn(map[code], absmax));
  }
  reinterpret_cast<Eight<Out>*>(out)[i] = values;
}

template <typename Out>
void run_four_bit(const WeightView& weight, std::int64_t first, std::int64_t count, Out* out,
                  std::int64_t ldo, const Queue& queue) {
  const FourBitFormat format = FourBitFormat::of(weight);
  const std::int64_t k = weight.shape[1];
  const std::int64_t eights = count * k / 8;
  if (k % 8 != 0 || ldo != k || !is_aligned(weight.data, 4) ||
      !is_aligned(out, sizeof(Eight<Out>)) || eights / kThreads >= 0x7FFFFFFF) {
    return run_decode(format, first, nullptr, count, k, out, ldo, queue);
  }
  queue.make_current();
  const auto blocks = static_cast<unsigned>(ceil_div(eights, kThreads));
  const auto kernel =
      weight.form.nested ? decode_four_bit_eights<Out, true> : decode_four_bit_eights<Out, false>;
  launch_in_turn(queue, "decode_four_bit", kernel, blocks, kThreads, 0, format.at, first * k / 8,
                 eights, format.block_shift, out);
}

template <typename Out>
void run_weight(const WeightView& weight, std::int64_t first, std::int64_t count, Out* out,
                std::int64_t ldo, const Queue& queue) {
  if (weight.form.is_four_bit()) return run_four_bit(weight, first, count, out, ldo, queue);
  const std::int64_t k = weight.shape[1];
  if (weight.form.quant_type == QuantType::kF8Tiles) {
    return run_decode(F8TilesFormat::of(weight), first, nullptr, count, k, out, ldo, queue);
  }
  const auto row_bytes = static_cast<std::int64_t>(packed_bytes(weight.form.dtype, k).value());
  with_plain_format(weight.form.dtype, weight.data, row_bytes, [&](const auto& format) {
    run_decode(format, first, nullptr, count, k, out, ldo, queue);
  });
}

template <typename Out>
__global__ void round_fours(const float4* x, const std::int64_t fours, Out* out) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= fours) return;
  const float4 from = x[i];
  struct alignas(sizeof(Out) * 4) Four {
    Out at[4];
  };
  reinterpret_cast<Four*>(out)[i] = {from_float<Out>(from.x), from_float<Out>(from.y),
                                     from_float<Out>(from.z), from_float<Out>(from.w)};
}

template <typename Out>
void run_round(const float* x, std::int64_t rows, std::int64_t k, Out* out, std::int64_t ldo,
               const Queue& queue) {
  const std::int64_t fours = rows * k / 4;
  if (ldo != k || rows * k % 4 != 0 || !is_aligned(x, 16) || !is_aligned(out, 4 * sizeof(Out)) ||
      fours / kThreads >= 0x7FFFFFFF) {
    const PlainFormat<DType::kF32> format{reinterpret_cast<const std::byte*>(x),
                                          k * std::int64_t{sizeof(float)}};
    return run_decode(format, 0, nullptr, rows, k, out, ldo, queue);
  }
  queue.make_current();
  launch_in_turn(queue, "round_rows", round_fours<Out>,
                 static_cast<unsigned>(ceil_div(fours, kThreads)), kThreads, 0,
                 reinterpret_cast<const float4*>(x), fours, out);
}

// Calls body(out) with the type that values are stored in.
template <typename Body>
void with_output(DType dtype, void* out, const Body& body) {
  switch (dtype) {
    case DType::kF32: return body(static_cast<float*>(out));
    case DType::kF16: return body(static_cast<__half*>(out));
    case DType::kBF16: return body(static_cast<__nv_bfloat16*>(out));
    default: throw ArgumentError(str_cat("rows are not widened to ", to_string(dtype)));
  }
}

}  // namespace

void decode_rows(DType dtype, const std::byte* table, std::int64_t row_bytes, std::int64_t width,
                 const std::int32_t* row_ids, std::int64_t count, float* out, Queue& queue) {
  if (count == 0 || width == 0) return;
  with_plain_format(dtype, table, row_bytes, [&](const auto& format) {
    run_decode(format, 0, row_ids, count, width, out, width, queue);
  });
}

void decode_weight_rows(const WeightView& weight, std::int64_t first, std::int64_t count,
                        DType dtype, void* out, std::int64_t ldo, const Queue& queue) {
  if (count == 0 || ldo == 0) return;
  with_output(dtype, out, [&](auto* to) { run_weight(weight, first, count, to, ldo, queue); });
}

void round_rows(const float* x, std::int64_t rows, std::int64_t k, DType dtype, void* out,
                std::int64_t ldo, const Queue& queue) {
  if (rows == 0 || ldo == 0) return;
  with_output(dtype, out, [&](auto* to) { run_round(x, rows, k, to, ldo, queue); });
}

}  // namespace shoehorn::cuda
