// Which columns of x hold an outlier of LLM.int8() in any row: marked by several threads, then
// collected. Internal to linear_int8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// Lives in the workspace until its owner releases that.
class OutlierColumns {
 public:
  OutlierColumns(std::int64_t k, int threads, Workspace& workspace);
  static std::size_t workspace_bytes(std::int64_t k, int threads);

  /// A bit a column, for that thread to set: column i is bit i % 8 of byte i / 8.
  std::uint8_t* of_thread(int thread) {
    return bits_.data() + stride_ * static_cast<std::size_t>(thread);
  }

  /// Lists what the threads have marked so far.
  void collect();
  /// Ascending.
  std::span<const std::int32_t> columns() const { return columns_.first(count_); }

 private:
  std::size_t stride_;  // bytes of a thread's bits
  std::span<std::uint8_t> bits_;
  std::span<std::int32_t> columns_;
  std::size_t count_ = 0;
};

}  // namespace shoehorn
