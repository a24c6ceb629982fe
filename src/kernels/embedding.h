// Token embedding: rows of a table, widened.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "tensor/tensor.h"

namespace shoehorn {

/// out[t, :] = table[ids[t], :]
///
///   table [V, D]    any floating or GGUF block dtype, as stored
///   ids   [T]       0 <= id < V
///   out   [T, D]    float32
///
/// Throws ArgumentError if sizes disagree or an id is outside the table (it names the id).
void embed_rows(const TensorView& table, std::span<const std::int32_t> ids, std::span<float> out,
                ExecContext& ctx);

}  // namespace shoehorn
