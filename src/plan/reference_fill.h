// The filling step that both reference planners share: infer_auto_device_map, which walks the model
// and puts modules on devices in order, never returning to a device it has left. Where the two
// libraries differ is data (FillRules); everything else is one algorithm.
#pragma once

#include <string>
#include <vector>

#include "plan/budget.h"
#include "plan/device_map.h"
#include "plan/largest_layer.h"
#include "plan/module_sizes.h"
#include "plan/plan_tree.h"

namespace shoehorn {

struct FillRules {
  Flavour flavour = Flavour::kAccelerate;
  bool offload_buffers = false;      // silences a warning, changes nothing else
  bool fallback_allocation = false;  // accelerate's option of that name
};

struct Placement {
  NodeId node;
  DeviceKey device;
};

struct FillResult {
  std::vector<Placement> placements;  // in the order they were made
  /// Buffers of offloaded layers would sit on an accelerator and may not fit there.
  bool warn_buffers = false;
  double offloaded_buffer_bytes = 0;
  /// Devices that received nothing, and the bytes they would have needed for the module at hand.
  std::vector<std::pair<DeviceKey, double>> unused_devices;
  /// One line a decision, for people.
  std::vector<std::string> decisions;
};

/// Throws ReferenceCrash where the original fails: a tied partner that is no longer in the queue
/// (IndexError), fallback allocation with fractional numbers (AttributeError).
FillResult fill_devices(const PlanTree& tree, const ModuleSizes& sizes, const Budget& budget,
                        const ClassNames& no_split, const FillRules& rules);

}  // namespace shoehorn
