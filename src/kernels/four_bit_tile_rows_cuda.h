// Rows of x on their way to the kernel of linear_four_bit_tiles_cuda.cu: rounded and scaled to
// float16 in shared memory, and what a lane takes of them from there. Included by .cu files only.
#pragma once

#include <cstdint>

#include "kernels/four_bit_job_cuda.h"
#include "kernels/four_bit_tile_loads_cuda.h"
#include "kernels/instructions_cuda.h"
#include "kernels/mma_cuda.h"

namespace shoehorn::cuda {

inline constexpr int kUnitBytes = 16;                // of x: eight values
inline constexpr int kChunkBytes = kChunkCodes * 2;  // of x

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
__device__ inline std::uint32_t unit_offset(int m, int chunk, int q) {
  return static_cast<std::uint32_t>((q ^ (chunk >> 1 & 1) ^ (m & 1) << 1) * kUnitBytes);
}

// The largest magnitude of each row of x decides the power of two that it is multiplied with.
__device__ inline float scale_for(std::uint32_t largest) {
  const int exponent = static_cast<int>(largest >> 23);
  if (exponent == 0 || exponent == 255) return 1.0F;  // zeros; infinities stay what they are
  const int wanted = min(max(14 - (exponent - 127), -126), 126);
  return __uint_as_float(static_cast<std::uint32_t>(wanted + 127) << 23);
}

__device__ inline float rounded(float value, ComputeDtype dtype) {
  return dtype == ComputeDtype::kBF16 ? to_float(__nv_bfloat16(value)) : value;
}

// Eight values of a row.
struct XUnit {
  float4 first;
  float4 second;

  __device__ float largest() const {
    const auto of_four = [](const float4& v) {
      return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    };
    return fmaxf(of_four(first), of_four(second));
  }
  __device__ uint4 packed(float scale, ComputeDtype dtype) const {
    const auto pair = [&](float a, float b) {
      return pack_pair<__half>(__fmul_rn(rounded(a, dtype), scale),
                               __fmul_rn(rounded(b, dtype), scale));
    };
    return {pair(first.x, first.y), pair(first.z, first.w), pair(second.x, second.y),
            pair(second.z, second.w)};
  }
};

// x on its way to shared memory, rounded and scaled, each row by an equal share of the warps. What
// a thread reads when this is made it keeps until store(); where rows are longer, the rest is read
// twice.
class XStaging {
 public:
  __device__ explicit XStaging(const FourBitJob& job) : job_(job) {
    while (warps_each_ * job.rows > kTileWarps) warps_each_ /= 2;
    step_ = warps_each_ * kWarp;
    row_ = static_cast<int>(threadIdx.x) / step_;
    thread_ = static_cast<int>(threadIdx.x) % step_;
    const bool has_row = row_ < job.rows;
    units_ = has_row ? job.k / 8 : 0;
    from_ = reinterpret_cast<const float4*>(job.x + std::int64_t{has_row ? row_ : 0} * job.k);
#pragma unroll
    for (int j = 0; j < kHeld; ++j) held_[j] = read(thread_ + j * step_);
  }

  // By all threads. `inverses` [rows] undo the scales.
  __device__ void store(const XRows& x, float* inverses) const {
    __shared__ std::uint32_t maxima[kTileWarps];
    std::uint32_t largest = __reduce_max_sync(kAllLanes, largest_of_thread());
    if (threadIdx.x % kWarp == 0) maxima[threadIdx.x / kWarp] = largest;
    __syncthreads();
    if (row_ >= job_.rows) return;
    for (int other = row_ * warps_each_; other < (row_ + 1) * warps_each_; ++other) {
      largest = max(largest, maxima[other]);
    }
    const float scale = scale_for(largest);
    if (thread_ == 0) inverses[row_] = __fdiv_rn(1.0F, scale);
    const auto write = [&](int i, const XUnit& unit) {
      const int chunk = i / 4;
      if (chunk >= x.padded_chunks) return;
      store_shared(x.chunk(row_, chunk) + unit_offset(row_, chunk, i % 4),
                   unit.packed(scale, job_.dtype));
    };
#pragma unroll
    for (int j = 0; j < kHeld; ++j) write(thread_ + j * step_, held_[j]);
    for (int i = thread_ + kHeld * step_; i < x.padded_chunks * 4; i += step_) write(i, read(i));
  }

 private:
  static constexpr int kHeld = 4;  // units

  // Zeros behind the row's end.
  __device__ XUnit read(int i) const {
    if (i >= units_) return {};
    return {from_[2 * i], from_[2 * i + 1]};
  }

  __device__ std::uint32_t largest_of_thread() const {
    std::uint32_t largest = 0;
    if (job_.dtype != ComputeDtype::kBF16) return largest;
    const auto look_at = [&](const XUnit& unit) {
      largest = max(largest, __float_as_uint(rounded(unit.largest(), job_.dtype)));
    };
#pragma unroll
    for (int j = 0; j < kHeld; ++j) look_at(held_[j]);
    for (int i = thread_ + kHeld * step_; i < units_; i += step_) look_at(read(i));
    return largest;
  }

  const FourBitJob& job_;
  int warps_each_ = kTileWarps;
  int step_ = 0;  // threads of a row
  int row_ = 0;
  int thread_ = 0;  // of the row's
  int units_ = 0;   // of the row; 0: there is none
  const float4* from_ = nullptr;
  XUnit held_[kHeld];
};

// A lane's share of x in products: for each set of eight columns, where its values are.
template <int kParts, int kSets>
struct XShare {
  bool has[kSets];
  std::uint32_t address[kSets][4];  // of chunk t
  uint4 units[kSets][4];            // zeros where the lane has none

  __device__ XShare(int g, int t, int rows, const XRows& x) {
#pragma unroll
    for (int set = 0; set < kSets; ++set) {
      const int column = 8 * set + g;
      const int m = column / kParts;
      has[set] = m < rows && t * kParts / kStepChunks == column % kParts;
      // Steps are whole multiples of what unit_offset() depends on.
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        address[set][q] = x.chunk(m, t) + unit_offset(m, t, q);
        units[set][q] = {0, 0, 0, 0};
      }
    }
  }

  // Of step h of an item.
  template <int h>
  __device__ void load(int item) {
    const auto offset = static_cast<std::uint32_t>(item * (kItemChunks * kChunkBytes));
#pragma unroll
    for (int set = 0; set < kSets; ++set) {
#pragma unroll
      for (int q = 0; q < 4; ++q) {
        load_shared_if<h * kStepChunks * kChunkBytes>(has[set], address[set][q] + offset,
                                                      units[set][q]);
      }
    }
  }
};

}  // namespace shoehorn::cuda
