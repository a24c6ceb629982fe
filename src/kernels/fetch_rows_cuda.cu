// Rows of a table, gathered by number on a CUDA device: embeddings and chosen hidden states.
#include <algorithm>

#include "cuda/queue.h"
#include "kernels/decode_weight_cuda.h"
#include "kernels/lanes_cuda.h"
#include "kernels/launch_cuda.h"
#include "kernels/rows_cuda.h"

namespace shoehorn::cuda {
namespace {

constexpr int kThreads = 128;

// A value at any address.
template <typename T>
__device__ T load_bytes(const std::byte* at) {
  T value;
  auto* const to = reinterpret_cast<std::byte*>(&value);
#pragma unroll
  for (int i = 0; i < static_cast<int>(sizeof(T)); ++i) to[i] = at[i];
  return value;
}

// blockIdx.x is the row of `out`. kWide: 16 bytes of the table a thread and step.
template <typename T, bool kWide>
__global__ void fetch(const std::byte* table, const std::int64_t width, const std::int32_t* ids,
                      float* out) {
  constexpr int kStep = kWide ? Pack<T>::kSize : 1;
  const std::byte* const row =
      table + ids[blockIdx.x] * width * static_cast<std::int64_t>(sizeof(T));
  float* const to = out + blockIdx.x * width;
  const std::int64_t step = std::int64_t{gridDim.y} * blockDim.x * kStep;
  for (std::int64_t i = (std::int64_t{blockIdx.y} * blockDim.x + threadIdx.x) * kStep; i < width;
       i += step) {
    const std::byte* const from = row + i * static_cast<std::int64_t>(sizeof(T));
    if constexpr (kWide) {
      const Pack<T> values = *reinterpret_cast<const Pack<T>*>(from);
#pragma unroll
      for (int j = 0; j < kStep; j += 4) {
        *reinterpret_cast<float4*>(to + i + j) = {
            to_float(values.at[j]), to_float(values.at[j + 1]), to_float(values.at[j + 2]),
            to_float(values.at[j + 3])};
      }
    } else {
      to[i] = to_float(load_bytes<T>(from));
    }
  }
}

template <typename T>
void run_fetch(const std::byte* table, std::int64_t width, const std::int32_t* ids,
               std::int64_t count, float* out, const Queue& queue) {
  if (count == 0 || width == 0) return;
  queue.make_current();
  const bool is_wide = width % Pack<T>::kSize == 0 && are_aligned_16({table, out});
  const std::int64_t items = is_wide ? width / Pack<T>::kSize : width;
  const dim3 grid(static_cast<unsigned>(count),
                  static_cast<unsigned>(std::min<std::int64_t>(ceil_div(items, kThreads), 1024)));
  launch_in_turn(queue, "fetch_rows", is_wide ? fetch<T, true> : fetch<T, false>, grid, kThreads, 0,
                 table, width, ids, out);
}

}  // namespace

void fetch_rows(DType dtype, const std::byte* table, std::int64_t width, const std::int32_t* ids,
                std::int64_t count, float* out, ExecContext& ctx) {
  Queue& queue = *ctx.queue;
  switch (dtype) {
    case DType::kF32: return run_fetch<float>(table, width, ids, count, out, queue);
    case DType::kF16: return run_fetch<__half>(table, width, ids, count, out, queue);
    case DType::kBF16: return run_fetch<__nv_bfloat16>(table, width, ids, count, out, queue);
    default: break;
  }
  // Front doors have checked that a row is whole blocks.
  const auto row_bytes = static_cast<std::int64_t>(packed_bytes(dtype, width).value());
  decode_rows(dtype, table, row_bytes, width, ids, count, out, queue);
}

void gather_rows(const float* x, std::int64_t width, const std::int32_t* rows, std::int64_t count,
                 float* out, ExecContext& ctx) {
  run_fetch<float>(reinterpret_cast<const std::byte*>(x), width, rows, count, out, *ctx.queue);
}

}  // namespace shoehorn::cuda
