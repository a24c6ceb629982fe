#include "weights/tensor_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/strided_read.h"
#include "kernels/decode_row.h"

namespace shoehorn {
namespace {

/// The stored rows that a piece touches: Hugging Face's rows [first, first + count).
struct StoredRange {
  std::int64_t first;
  std::int64_t count;
};

StoredRange stored_range(const TensorInfo& info, std::int64_t rows, std::int64_t first,
                         std::int64_t count) {
  if (info.row_order == RowOrder{}) return {first, count};
  std::int64_t low = std::numeric_limits<std::int64_t>::max();
  std::int64_t high = 0;
  for (std::int64_t row = first; row < first + count; ++row) {
    const std::int64_t at = stored_row(info.row_order, rows, row);
    low = std::min(low, at);
    high = std::max(high, at);
  }
  return {low, high - low + 1};
}

}  // namespace

RowLayout row_layout(const TensorInfo& info) {
  const std::int64_t elements = info.shape.elements();
  if (info.shape.rank() < 2 && info.row_order == RowOrder{}) return {1, elements};
  const std::int64_t rows = info.shape[0];
  return {rows, rows == 0 ? 0 : elements / rows};
}

bool is_stored_form(const TensorInfo& info, DType form) {
  return info.dtype == form && info.row_order == RowOrder{} && info.strides.empty();
}

StoredSpan stored_span(const TensorInfo& info, std::int64_t first, std::int64_t count) {
  const std::int64_t rows = row_layout(info).rows;
  const std::size_t row_bytes = rows == 0 ? 0 : info.bytes / static_cast<std::size_t>(rows);
  const StoredRange range = stored_range(info, rows, first, count);
  return {static_cast<std::size_t>(range.first) * row_bytes,
          static_cast<std::size_t>(range.count) * row_bytes};
}

void read_rows(const Checkpoint& checkpoint, const TensorInfo& info, DType form, std::int64_t first,
               std::int64_t count, std::span<std::byte> out, ReadScratch& scratch, Isa isa) {
  if (count == 0) return;
  const StoredSpan span = stored_span(info, first, count);
  if (is_stored_form(info, form)) {
    checkpoint.read_at(info, span.offset, out);
    return;
  }
  scratch.stored.resize(span.bytes);
  if (info.strides.empty()) {
    checkpoint.read_at(info, span.offset, scratch.stored);
  } else {
    const StoredRange range = stored_range(info, row_layout(info).rows, first, count);
    read_strided_rows(checkpoint.files()[info.file], info, range.first, range.count,
                      scratch.stored);
  }
  convert_rows(checkpoint, info, form, first, count, scratch.stored, out, scratch, isa);
}

void convert_rows(const Checkpoint& checkpoint, const TensorInfo& info, DType form,
                  std::int64_t first, std::int64_t count, std::span<const std::byte> bytes,
                  std::span<std::byte> out, ReadScratch& scratch, Isa isa) {
  if (count == 0) return;
  if (is_stored_form(info, form)) {
    std::memcpy(out.data(), bytes.data(), out.size());
    return;
  }
  if (info.dtype != form && !is_floating(info.dtype) && !is_block(info.dtype)) {
    throw UnsupportedError(str_cat(checkpoint.path_of(info).string(), ": ", info.name,
                                   ": stored as ", to_string(info.dtype),
                                   ", which has no conversion to ", to_string(form)));
  }
  const auto [rows, row_elements] = row_layout(info);
  const std::size_t stored_row_bytes = info.bytes / static_cast<std::size_t>(rows);
  const StoredRange range = stored_range(info, rows, first, count);
  const std::size_t out_row_bytes = out.size() / static_cast<std::size_t>(count);
  scratch.values.resize(static_cast<std::size_t>(row_elements));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at = stored_row(info.row_order, rows, first + i) - range.first;
    const std::byte* stored = bytes.data() + static_cast<std::size_t>(at) * stored_row_bytes;
    std::byte* target = out.data() + static_cast<std::size_t>(i) * out_row_bytes;
    if (info.dtype == form) {
      std::memcpy(target, stored, out_row_bytes);
    } else {
      decode_row(info.dtype, stored, row_elements, scratch.values.data(), isa);
      encode_row(form, scratch.values.data(), row_elements, target, isa);
    }
  }
}

std::int64_t rows_per_piece(const TensorInfo& info, std::size_t piece_bytes) {
  const auto [rows, row_elements] = row_layout(info);
  if (rows <= 1 || info.bytes == 0) return std::max<std::int64_t>(rows, 1);
  const std::size_t row_bytes = info.bytes / static_cast<std::size_t>(rows);
  auto piece = static_cast<std::int64_t>(std::max<std::size_t>(piece_bytes / row_bytes, 1));
  if (info.row_order.interleaved_heads != 0) {
    const std::int64_t head_rows = rows / info.row_order.interleaved_heads;
    piece = std::max(piece / head_rows, std::int64_t{1}) * head_rows;
  } else if (info.row_order.qkv_groups != 0) {
    piece = rows / info.row_order.qkv_heads;  // a head lies together, a group does not
  }
  return std::min(piece, rows);
}

}  // namespace shoehorn
