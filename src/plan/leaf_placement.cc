#include "plan/leaf_placement.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "plan/room.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMaxSlotSizes = 16;

class LeafPlacer {
 public:
  LeafPlacer(const CostModel& model, const ModelPieces& pieces)
      : model_(pieces), room_(model), fixed_(pieces.pieces.size(), false) {
    result_.devices.assign(pieces.pieces.size(), DeviceKey::disk());
  }

  std::optional<LeafPlacement> place(Bytes largest_slot, int slots);

 private:
  bool place_layers_and_caches();
  bool place_large_and_staging(Bytes largest_slot, int slots);
  void fill_up();
  bool place_piece(std::size_t p);

  const ModelPieces& model_;
  Room room_;
  std::vector<bool> fixed_;
  LeafPlacement result_;
};

// Whole layers on accelerators, as many as fit: their KV caches leave the CPU with them. Those made
// of host memory would take room from the staging instead.
bool LeafPlacer::place_layers_and_caches() {
  for (const LayerCost& layer : model_.layers) {
    std::optional<std::size_t> on;
    for (std::size_t i = 0; i < room_.order().size() && !on; ++i) {
      if (room_.order()[i].is_cpu() || room_.is_host_memory(i)) continue;
      if (room_.take(i, layer.resident.on(room_.order()[i]) + layer.kv)) on = i;
    }
    if (!on && !room_.take_host(layer.kv)) return false;
    if (!on) continue;
    for (const std::size_t p : layer.pieces) {
      result_.devices[p] = room_.order()[*on];
      fixed_[p] = true;
    }
  }
  return true;
}

// What is streamed of a layer is computed on the CPU, so its resident parts belong there.
bool LeafPlacer::place_piece(std::size_t p) {
  const Piece& piece = model_.pieces[p];
  for (std::size_t i = 0; i < room_.order().size(); ++i) {
    if (piece.layer >= 0 && !room_.order()[i].is_cpu()) continue;
    if (!room_.take(i, piece.resident.on(room_.order()[i]))) continue;
    result_.devices[p] = room_.order()[i];
    return true;
  }
  return false;
}

bool LeafPlacer::place_large_and_staging(Bytes largest_slot, int slots) {
  Bytes slot = 0;
  int groups = 0;
  for (std::size_t p = 0; p < model_.pieces.size(); ++p) {
    const Piece& piece = model_.pieces[p];
    if (fixed_[p] || piece.rows_only) continue;
    if (piece.slot > largest_slot) {
      if (!place_piece(p)) return false;
      fixed_[p] = true;
    } else {
      slot = std::max(slot, piece.slot);
      ++groups;
    }
  }
  result_.slots = std::min(slots, groups);
  return room_.take_host(slot * result_.slots);
}

// Modules outside the layers first, then layer after layer in an order that spreads: steps of the
// golden ratio leave no clusters.
void LeafPlacer::fill_up() {
  const auto turn = [](int layer) {
    return layer < 0 ? -1.0 : std::fmod(0.6180339887498949 * layer, 1.0);
  };
  std::vector<std::pair<double, std::size_t>> open;
  for (std::size_t p = 0; p < model_.pieces.size(); ++p) {
    if (!fixed_[p]) open.emplace_back(turn(model_.pieces[p].layer), p);
  }
  std::ranges::sort(open);
  for (const auto& [when, p] : open) {
    if (!place_piece(p)) result_.streamed += model_.pieces[p].streamed;
  }
}

std::optional<LeafPlacement> LeafPlacer::place(Bytes largest_slot, int slots) {
  if (!room_.is_valid() || !place_layers_and_caches() ||
      !place_large_and_staging(largest_slot, slots)) {
    return std::nullopt;
  }
  fill_up();
  return std::move(result_);
}

}  // namespace

std::optional<LeafPlacement> place_by_leaf_modules(const CostModel& model,
                                                   const ModelPieces& pieces, int slots) {
  std::set<Bytes, std::greater<>> sizes = {0};
  for (const Piece& piece : pieces.pieces) sizes.insert(piece.slot);
  std::optional<LeafPlacement> best;
  const std::size_t step = 1 + sizes.size() / kMaxSlotSizes;
  std::size_t n = 0;
  for (const Bytes largest : sizes) {
    if (n++ % step != 0) continue;
    auto placed = LeafPlacer(model, pieces).place(largest, slots);
    if (placed && (!best || placed->streamed < best->streamed)) best = std::move(placed);
  }
  return best;
}

}  // namespace shoehorn
