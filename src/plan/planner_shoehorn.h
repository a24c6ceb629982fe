// The default planner: the map with the shortest predicted time among those that keep every device
// under its limit. Everything resident where that fits; otherwise as few bytes as possible are read
// from disk in every pass, spread evenly over it, so that the drive never waits.
#pragma once

#include "plan/plan.h"

namespace shoehorn {

/// How the strategies are read:
///   auto            as above; a model that fits its accelerators is spread evenly over them
///   balanced        the same
///   balanced_low_0  accelerator 0 (the one with the lowest number) takes what the others cannot
///   sequential      accelerators are filled in order, then the CPU; the last layers are streamed
///
/// Every tensor gets a device, tied tensors the same one. Throws PlanError where no map fits, with
/// the bytes that are needed and what would make it fit; ArgumentError for an input that
/// contradicts itself; FormatError for a malformed tree.
Plan plan_shoehorn(const PlanInput& input);

/// The same account for a map that someone else made. Throws PlanError where a limit would be
/// broken or tied tensors are on different devices, ArgumentError where the map leaves a tensor
/// that has a cost without a device, or names a device that `input.devices` does not have.
Plan evaluate_map(const PlanInput& input, const DeviceMap& map);

}  // namespace shoehorn
