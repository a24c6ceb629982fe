#include "checkpoint/tensor_stack.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

/// Strides of a row-major tensor, in elements.
std::vector<std::int64_t> row_major_strides(const Shape& shape) {
  std::vector<std::int64_t> strides(shape.rank(), 1);
  for (std::size_t i = shape.rank(); i-- > 1;) {
    strides[i - 1] = strides[i] * shape[static_cast<int>(i)];
  }
  return strides;
}

}  // namespace

std::size_t TensorStack::stored_bytes() const {
  std::size_t bytes = 0;
  for (const TensorInfo& info : plain) bytes += info.bytes;
  for (const auto& tensor : quantized) bytes += tensor->stored_bytes();
  return bytes;
}

std::vector<TensorInfo> slices_of(const TensorInfo& tensor, std::int64_t matrices,
                                  const Shape& matrix, bool transposed) {
  std::vector<TensorInfo> slices;
  const std::size_t item = dtype_info(tensor.dtype).block_bytes;
  const std::vector<std::int64_t> strides =
      tensor.strides.empty() ? row_major_strides(tensor.shape) : tensor.strides;
  // Several matrices lie one after the other in the rows of each entry of the first dimension.
  const std::int64_t per_entry = tensor.shape[0] == 0 ? 1 : matrices / tensor.shape[0];
  for (std::int64_t i = 0; i < matrices; ++i) {
    TensorInfo slice = tensor;
    slice.name = str_cat(tensor.name, "[", i, "]");
    slice.shape = matrix;
    slice.bytes = packed_bytes(tensor.dtype, matrix.elements()).value();
    if (!transposed && tensor.strides.empty()) {
      slice.offset += static_cast<std::uint64_t>(i) * slice.bytes;
    } else {
      const std::int64_t entry = i / per_entry;
      const std::int64_t first_row = transposed ? 0 : i % per_entry * matrix[0];
      slice.offset +=
          static_cast<std::uint64_t>(entry * strides[0] + first_row * strides[1]) * item;
      slice.strides =
          transposed ? std::vector{strides[2], strides[1]} : std::vector{strides[1], strides[2]};
    }
    slices.push_back(std::move(slice));
  }
  return slices;
}

}  // namespace shoehorn
