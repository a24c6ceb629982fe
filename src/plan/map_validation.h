// A custom device map that is going to be run, checked before anything is loaded. accelerate warns,
// or finds out at the first forward pass; here every mistake is an error that says what to write.
#pragma once

#include "plan/device_map.h"
#include "plan/module_tree.h"

namespace shoehorn {

/// Throws one FormatError that lists names that no module or tensor has (with the nearest one that
/// does), tensors that no key covers, accelerators beyond `counts`, and tied tensors on different
/// devices.
void validate_device_map(const DeviceMap& map, const ModuleTree& tree, AcceleratorCounts counts);

}  // namespace shoehorn
