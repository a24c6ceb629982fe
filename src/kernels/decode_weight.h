// Any run of columns of a weight as float32, whatever form the weight has: what the kernels fall
// back on where a form has no kernel of its own.
#pragma once

#include <cstdint>

#include "kernels/exec_context.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// out[i] = W[row, first + i] for 0 <= i < count, as float32
///
///   weight [N, K]   plain: as decode_row() gives it; GGUF blocks: `first` and `count` are whole
///                   blocks. int8: fl(fl(CB · SCB) · fl(1/127)); four bits: fl(quant_map · absmax),
///                   blocks running over row ends.
///
/// Every instruction set gives the same bits. Thread-safe; sizes are the caller's to check.
void decode_columns(const WeightView& weight, std::int64_t row, std::int64_t first,
                    std::int64_t count, float* out, Isa isa);

}  // namespace shoehorn
