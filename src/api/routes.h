// The ways of passes through a planned model: where each group is computed, and whether weights
// come there or are multiplied where they live.
#pragma once

#include "api/prepare.h"
#include "model/loaded_model.h"

namespace shoehorn {

/// Fills routes, kv_devices and the link's devices of `parts`, whose groups are placed.
///
/// A layer is computed where the plan has it. Where CUDA devices have room for slots, weights of
/// host memory and disk come to them
///   - all of them in calls of so many rows that multiplying on the CPU takes several times as long
///     as the link;
///   - in shorter calls a share of the layers in host memory, evenly over them, the CPU computing
///   the
///     others: the share that lets the link and the CPU take equally long. `link_share` (0 to 1) is
///     another share for calls of up to 4 rows; below 0: that one.
/// Rates are the machine's, measured.
void set_routes(const PreparedModel& prepared, double link_share, ModelParts& parts);

}  // namespace shoehorn
