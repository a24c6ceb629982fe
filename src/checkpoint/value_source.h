// Where the bytes of a checkpoint's tensors come from when that is not files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "checkpoint/tensor_info.h"

namespace shoehorn {

/// Immutable and thread-safe.
class ValueSource {
 public:
  virtual ~ValueSource() = default;

  /// Fills `out` with the bytes of a tensor from `offset` on; the range lies inside the tensor. The
  /// same bytes come out whatever ranges they are read in.
  virtual void read_at(const TensorInfo& info, std::uint64_t offset,
                       std::span<std::byte> out) const = 0;

  /// All that the tensor's bytes depend on, beside its name, type and shape.
  virtual std::string identity(const TensorInfo& info) const = 0;
};

}  // namespace shoehorn
