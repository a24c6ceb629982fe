// A device map that the user wrote: a device for everything, JSON text, or a JSON file.
#pragma once

#include <string>

#include "plan/custom_map.h"
#include "plan/device_map.h"
#include "plan/module_tree.h"

namespace shoehorn {

/// Reads and checks it. Throws ArgumentError for what is no device and no file and for maps that do
/// not fit the tree, FormatError for JSON that is no map; each says what to write instead.
DeviceMap custom_device_map(const std::string& device_map, const ModuleTree& tree,
                            const MapRules& rules);

}  // namespace shoehorn
