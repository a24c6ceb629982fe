// What a checkpoint knows of a tensor before a byte of it is read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace shoehorn {

/// How the rows of a stored matrix relate to Hugging Face's order.
struct RowOrder {
  /// 0: as Hugging Face has them. n: llama.cpp's converters interleave the two halves of every one
  /// of n heads, so that within a head of d rows, stored row 2i is row i and stored row 2i + 1 is
  /// row i + d/2.
  std::int64_t interleaved_heads = 0;
  /// 0, or the groups of a fused projection of qkv_heads heads: Hugging Face has for each group its
  /// queries, its key and its value, llama.cpp's converters put all queries first, then all keys,
  /// then all values.
  std::int64_t qkv_groups = 0;
  std::int64_t qkv_heads = 0;  // queries, keys and values; a multiple of the groups, 3 or more each

  friend bool operator==(const RowOrder&, const RowOrder&) = default;
};

/// The stored row that holds Hugging Face's row `row` of a matrix with `rows` rows.
inline std::int64_t stored_row(const RowOrder& order, std::int64_t rows, std::int64_t row) {
  if (order.qkv_groups != 0) {
    const std::int64_t head_rows = rows / order.qkv_heads;
    const std::int64_t group_heads = order.qkv_heads / order.qkv_groups;
    const std::int64_t queries = group_heads - 2;  // of a group
    const std::int64_t group = row / head_rows / group_heads;
    const std::int64_t within = row / head_rows % group_heads;
    const std::int64_t head =
        within < queries ? group * queries + within : within * order.qkv_groups + group;
    return head * head_rows + row % head_rows;
  }
  if (order.interleaved_heads == 0) return row;
  const std::int64_t head_rows = rows / order.interleaved_heads;
  const std::int64_t head = row / head_rows;
  const std::int64_t within = row % head_rows;
  const std::int64_t half = head_rows / 2;
  return head * head_rows + (within < half ? 2 * within : 2 * (within - half) + 1);
}

/// A named tensor in one of the checkpoint's files: a run of packed values in row-major order, or,
/// in PyTorch's files, a strided view of a storage that other tensors may share.
struct TensorInfo {
  std::string name;  // Hugging Face's state_dict name, also for GGUF files
  DType dtype = DType::kF32;
  Shape shape;  // torch's order, also for GGUF files
  std::uint32_t file = 0;
  std::uint64_t offset = 0;  // from the start of the file
  std::size_t bytes = 0;     // of its values, packed
  RowOrder row_order;
  /// Of every dimension in elements; empty: row-major. `offset` is that of the first value.
  std::vector<std::int64_t> strides = {};
};

/// True where strides say what row-major order is: those of single elements do not matter.
bool is_row_major(const Shape& shape, std::span<const std::int64_t> strides);

}  // namespace shoehorn
