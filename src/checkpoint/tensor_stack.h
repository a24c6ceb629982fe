// A weight that is a stack of matrices, the experts of a layer, and where the checkpoint has each:
// in tensors of their own, or as slices of one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/quantized_tensor.h"

namespace shoehorn {

struct TensorStack {
  Shape matrix;  // [N, K], as they are multiplied
  /// One of the two, an entry a matrix.
  std::vector<TensorInfo> plain = {};
  std::vector<std::shared_ptr<const QuantizedTensor>> quantized = {};

  std::int64_t size() const {
    return static_cast<std::int64_t>(plain.empty() ? quantized.size() : plain.size());
  }
  /// Bytes that its tensors take in the files.
  std::size_t stored_bytes() const;
};

/// The matrices [N, K] of a stored tensor of `matrices` · N · K values, in order; `transposed`: of
/// a tensor [matrices, K, N]. The tensor's shape has been checked.
std::vector<TensorInfo> slices_of(const TensorInfo& tensor, std::int64_t matrices,
                                  const Shape& matrix, bool transposed);

}  // namespace shoehorn
