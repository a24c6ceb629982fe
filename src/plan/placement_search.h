// The search behind the default planner. What may be resident is packed into the devices in order
// of execution; what is left over is streamed. The choices compared are which modules outside the
// layers are streamed, which part of a layer is (all of it, or one of its larger modules), and in
// how many layers: the fewest that fit, spread evenly.
#pragma once

#include <memory>
#include <optional>

#include "plan/cost_model.h"

namespace shoehorn {

struct FoundPlacement {
  Assignment assignment;
  StreamUnit unit = StreamUnit::kLayer;
  int staging_slots = 0;
};

/// Borrows the model. Immutable, thread-safe.
class PlacementSearch {
 public:
  explicit PlacementSearch(const CostModel& model);
  ~PlacementSearch();
  /// The placement with the fewest streamed bytes among those tried, or nothing where none fits.
  std::optional<FoundPlacement> with_slots(int slots) const;

 private:
  class Search;
  std::unique_ptr<const Search> search_;
};

}  // namespace shoehorn
