// Asking for the weights that a blocked product copies next: a few lines in each step of what it
// does now, where that takes long enough, or just ahead of the copying. For the kernels of
// linear_int8 alone.
#pragma once

#include <cstdint>

#include <immintrin.h>

#include "kernels/linear_int8_paths.h"

namespace shoehorn {
namespace {

// How far ahead of the line in use: the reading of weights is one long stream then.
inline constexpr std::int64_t kInt8AheadBytes = 4096;

inline void prefetch_ahead(const Int8CopyJob& job, const std::int8_t* line) {
  if (job.ask_until - line > kInt8AheadBytes) {
    _mm_prefetch(reinterpret_cast<const char*>(line + kInt8AheadBytes), _MM_HINT_T1);
  }
}

// Lines in the order of memory, row after row.
class Int8Prefetch {
 public:
  // `steps` steps share the lines.
  Int8Prefetch(const NextInt8& next, std::int64_t steps)
      : row_(next.first), next_(next), rows_(next.rows) {
    const std::int64_t lines = next.rows * ((next.bytes + 63) / 64);
    lines_a_step_ = steps > 0 ? (lines + steps - 1) / steps : 0;
  }

  void step() {
    for (std::int64_t i = 0; i < lines_a_step_ && rows_ > 0; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(row_ + at_), _MM_HINT_T1);
      at_ += 64;
      if (at_ < next_.bytes) continue;
      at_ = 0;
      row_ += next_.row_bytes;
      --rows_;
    }
  }

 private:
  const std::int8_t* row_;
  NextInt8 next_;
  std::int64_t rows_;
  std::int64_t at_ = 0;
  std::int64_t lines_a_step_;
};

}  // namespace
}  // namespace shoehorn
