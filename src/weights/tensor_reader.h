// Brings stored tensors to the form they are used in: Hugging Face's row order, the wanted dtype.
// Works through a tensor in pieces of rows, so that converting needs a bounded scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "tensor/dtype.h"

namespace shoehorn {

/// Scratch of one reading thread; grows to what the largest piece needs and is used again.
struct ReadScratch {
  std::vector<std::byte> stored;
  std::vector<float> values;
  std::vector<std::byte> converted;
};

/// A tensor as rows: higher ranks have shape[0] of them. Rank 0 and 1 are one row, but for vectors
/// whose entries have to be brought in order (the bias of a matrix with a row order).
struct RowLayout {
  std::int64_t rows = 1;
  std::int64_t row_elements = 0;
};
RowLayout row_layout(const TensorInfo& info);

/// True if the stored bytes are already the wanted form: no conversion, no row order or strides to
/// undo.
bool is_stored_form(const TensorInfo& info, DType form);

/// Rows [first, first + count) of a tensor in the form `form` (f32, bf16, f16, or the stored
/// dtype), packed into `out`. Conversions go through float32 and round to nearest even. Throws
/// FileError where the file cannot be read, UnsupportedError naming the tensor for a dtype without
/// floats.
void read_rows(const Checkpoint& checkpoint, const TensorInfo& info, DType form, std::int64_t first,
               std::int64_t count, std::span<std::byte> out, ReadScratch& scratch, Isa isa);

/// The stored bytes that rows [first, first + count) are made of, from the tensor's first byte on;
/// only of a tensor without strides.
struct StoredSpan {
  std::size_t offset = 0;
  std::size_t bytes = 0;
};
StoredSpan stored_span(const TensorInfo& info, std::int64_t first, std::int64_t count);

/// read_rows() of bytes that were read already: those of stored_span(). Throws what it throws.
void convert_rows(const Checkpoint& checkpoint, const TensorInfo& info, DType form,
                  std::int64_t first, std::int64_t count, std::span<const std::byte> stored,
                  std::span<std::byte> out, ReadScratch& scratch, Isa isa);

/// How many rows make a piece of about `piece_bytes` stored bytes: whole heads where rows have to
/// be brought in order, whole blocks always.
std::int64_t rows_per_piece(const TensorInfo& info, std::size_t piece_bytes);

}  // namespace shoehorn
