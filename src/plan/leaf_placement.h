// Placement module by module, for limits so tight that a staging slot cannot hold a layer, and for
// models without layers.
#pragma once

#include <optional>
#include <vector>

#include "plan/cost_model.h"
#include "plan/pieces.h"

namespace shoehorn {

struct LeafPlacement {
  std::vector<DeviceKey> devices;  // by piece
  Bytes streamed = 0;
  int slots = 0;
};

/// Tries slots of several sizes: what is larger than a slot stays resident, the rest fills the room
/// that is left. The one with the fewest streamed bytes, or nothing where none fits.
std::optional<LeafPlacement> place_by_leaf_modules(const CostModel& model,
                                                   const ModelPieces& pieces, int slots);

}  // namespace shoehorn
