// TensorView borrows bytes with a type and a shape; Tensor owns them.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/host_buffer.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace shoehorn {

/// Packed, row-major bytes of a tensor that someone else owns; null data where it is not resident.
struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  const std::byte* data = nullptr;
  Device device;

  std::size_t size_bytes() const { return packed_bytes(dtype, shape.elements()).value(); }
  std::span<const std::byte> bytes() const { return {data, size_bytes()}; }
  /// The values as T, which must be the storage type of dtype.
  template <typename T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(data), static_cast<std::size_t>(shape.elements())};
  }
};

/// Owns a packed tensor in host memory.
class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape)
      : dtype_(dtype),
        shape_(std::move(shape)),
        buffer_(packed_bytes(dtype, shape_.elements()).value()) {}

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::span<std::byte> bytes() { return buffer_.bytes(); }
  TensorView view() const { return {dtype_, shape_, buffer_.data(), Device{}}; }
  template <typename T>
  std::span<T> as() {
    return {reinterpret_cast<T*>(buffer_.data()), static_cast<std::size_t>(shape_.elements())};
  }

 private:
  DType dtype_ = DType::kF32;
  Shape shape_;
  HostBuffer buffer_;
};

}  // namespace shoehorn
