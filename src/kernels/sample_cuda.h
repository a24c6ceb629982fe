// What a CUDA device does towards choosing tokens, so that the host gets a few candidates a row in
// place of a vocabulary. argmax() of rows_cuda.h is the greedy choice.
//
// A host that samples with temperature T and top_k = k asks top_k() for m > k values. The m are all
// that select_top_k() may keep unless the last one ties with the k-th after division by T (or is
// missing: then the row has no other numbers); only then does the host need the whole row. top-p,
// min-p and the draw look at nothing but what select_top_k() kept.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/exec_context.h"

namespace shoehorn::cuda {

inline constexpr std::int64_t kMostTopK = 256;

/// The k largest values of every row and their positions, largest first, the first position first
/// where values are equal. NaN is left out; a row of fewer than k numbers ends in -inf, whose ids
/// are -1.
///   x           [rows, width]  float32
///   values, ids [rows, k]      1 <= k <= kMostTopK
/// Takes top_k_workspace_bytes() and gives them back.
void top_k(const float* x, std::int64_t rows, std::int64_t width, std::int64_t k, float* values,
           std::int32_t* ids, ExecContext& ctx);

/// Workspace of the card that top_k() takes at most.
std::size_t top_k_workspace_bytes(std::int64_t rows, std::int64_t width, std::int64_t k);

/// Tokens whose logits of one row a penalty acts on: ids[first .. first + count - 1], which may
/// repeat; those outside the row are passed over.
struct PenalizedRow {
  std::int64_t first = 0;
  std::int64_t count = 0;
  float penalty = 1.0F;
};

/// out = x, except that out[r, i] = x[r, i] < 0 ? x[r, i] · penalty : x[r, i] / penalty for every
/// id i of row r: apply_repetition_penalty() of each row, to the bit.
///   x, out     [rows, width]  float32, not overlapping
///   penalized  [rows], ids: on the card
void apply_repetition_penalty(const float* x, std::int64_t rows, std::int64_t width,
                              const PenalizedRow* penalized, const std::int32_t* ids, float* out,
                              ExecContext& ctx);

}  // namespace shoehorn::cuda
