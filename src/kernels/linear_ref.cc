// The truth of linear: plain loops, summed in double precision and rounded once.
#include <cstring>

#include "kernels/linear_paths.h"
#include "tensor/half.h"

namespace shoehorn::ref {
namespace {

// Rows of a checkpoint's file may have any alignment, so values are copied out.
struct F32 {
  static double at(const std::byte* row, std::int64_t i) {
    float value;
    std::memcpy(&value, row + 4 * i, sizeof(value));
    return value;
  }
};
struct Bf16 {
  static double at(const std::byte* row, std::int64_t i) {
    std::uint16_t bits;
    std::memcpy(&bits, row + 2 * i, sizeof(bits));
    return bf16_to_f32(bits);
  }
};
struct F16 {
  static double at(const std::byte* row, std::int64_t i) {
    std::uint16_t bits;
    std::memcpy(&bits, row + 2 * i, sizeof(bits));
    return f16_to_f32(bits);
  }
};

template <typename Stored>
void dot(const DotJob& job, std::int64_t begin, std::int64_t end) {
  for (std::int64_t n = begin; n < end; ++n) {
    const std::byte* const row = job.weight + static_cast<std::size_t>(n) * job.row_bytes;
    for (std::int64_t m = 0; m < job.rows; ++m) {
      double sum = job.bias != nullptr ? job.bias[n] : 0.0;
      for (std::int64_t i = 0; i < job.k; ++i) {
        sum += Stored::at(row, i) * job.x[m * job.k + i];
      }
      float& y = job.y[m * job.ldy + n];
      y = static_cast<float>(job.accumulate ? y + sum : sum);
    }
  }
}

}  // namespace

void dot_f32(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<F32>(job, begin, end);
}
void dot_bf16(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<Bf16>(job, begin, end);
}
void dot_f16(const DotJob& job, std::int64_t begin, std::int64_t end) {
  dot<F16>(job, begin, end);
}

}  // namespace shoehorn::ref
