// Rows of a stored weight or table on a CUDA device, widened. Internal to the kernels of cards.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/queue.h"
#include "quant/weight_form.h"
#include "tensor/dtype.h"

namespace shoehorn::cuda {

/// out[i, :] = row ids[i] of the table, or row i where ids is null, bit for bit as decode_row()
/// gives it.
///
///   table [.., width]      any dtype that decode_row() takes, rows `row_bytes` apart, any
///   alignment row_ids [count]        on the card, in range; or null out [count, width]     float32
void decode_rows(DType dtype, const std::byte* table, std::int64_t row_bytes, std::int64_t width,
                 const std::int32_t* row_ids, std::int64_t count, float* out, Queue& queue);

/// out[i, :] = row first + i of a plain or four-bit weight [N, K] in `dtype` (F32, BF16 or F16),
/// rounded to nearest, filled with zeros up to `ldo` values a row.
void decode_weight_rows(const WeightView& weight, std::int64_t first, std::int64_t count,
                        DType dtype, void* out, std::int64_t ldo, const Queue& queue);

/// The same of the rows of x [rows, k] float32.
void round_rows(const float* x, std::int64_t rows, std::int64_t k, DType dtype, void* out,
                std::int64_t ldo, const Queue& queue);

}  // namespace shoehorn::cuda
