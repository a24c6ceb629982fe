// What a checkpoint knows of a tensor before a byte of it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace shoehorn {

/// How the rows of a stored matrix relate to Hugging Face's order.
struct RowOrder {
  /// 0: as Hugging Face has them. n: llama.cpp's converters interleave the two halves of every one
  /// of n heads, so that within a head of d rows, stored row 2i is row i and stored row 2i + 1 is
  /// row i + d/2.
  std::int64_t interleaved_heads = 0;

  friend bool operator==(const RowOrder&, const RowOrder&) = default;
};

/// The stored row that holds Hugging Face's row `row` of a matrix with `rows` rows.
inline std::int64_t stored_row(const RowOrder& order, std::int64_t rows, std::int64_t row) {
  if (order.interleaved_heads == 0) return row;
  const std::int64_t head_rows = rows / order.interleaved_heads;
  const std::int64_t head = row / head_rows;
  const std::int64_t within = row % head_rows;
  const std::int64_t half = head_rows / 2;
  return head * head_rows + (within < half ? 2 * within : 2 * (within - half) + 1);
}

/// A named run of bytes in one of the checkpoint's files: packed values in row-major order.
struct TensorInfo {
  std::string name;  // Hugging Face's state_dict name, also for GGUF files
  DType dtype = DType::kF32;
  Shape shape;  // torch's order, also for GGUF files
  std::uint32_t file = 0;
  std::uint64_t offset = 0;  // from the start of the file
  std::size_t bytes = 0;
  RowOrder row_order;
};

}  // namespace shoehorn
