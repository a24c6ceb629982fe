// Copies within the memory of one device, in the order of its work.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// to[i] = from[i], float32; the same memory or not overlapping. Throws ArgumentError if lengths
/// differ.
void copy_values(std::span<const float> from, std::span<float> to, ExecContext& ctx);

/// to[i, :] = rows[i][:]: puts vectors that lie anywhere one after the other.
///
///   rows  pointers to `width` values each; the list itself is in host memory
///   to    [rows.size(), width], not overlapping them
///
/// Throws ArgumentError if sizes disagree.
void stack_rows(std::span<const float* const> rows, std::int64_t width, std::span<float> to,
                ExecContext& ctx);

}  // namespace shoehorn
