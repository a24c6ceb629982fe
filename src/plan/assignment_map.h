// Writes a placement down as a device map with as few keys as say it clearly.
#pragma once

#include "plan/cost_model.h"
#include "plan/device_map.h"

namespace shoehorn {

/// A module whose weights all share a device is one key. A decoder layer of which a part lives
/// elsewhere is its own key, for where most of it lives, and one key for each part that differs;
/// any other module is listed child by child. Every tensor is covered: those without a cost follow
/// their module.
DeviceMap assignment_map(const CostModel& model, const Assignment& assignment);

}  // namespace shoehorn
