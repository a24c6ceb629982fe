// How much each device may hold: accelerate's get_max_memory.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "plan/device_key.h"
#include "plan/dtype_bytes.h"

namespace shoehorn {

/// `max_memory` as the user wrote it: device → a number of bytes or a size such as "10GiB".
using MaxMemory = std::vector<std::pair<std::string, std::variant<PyNumber, std::string>>>;

/// Bytes per device, in the order in which devices are filled. A device that is missing does not
/// exist for the plan; disk holds everything whatever is written here.
using Budget = std::map<DeviceKey, PyNumber>;

/// Parses sizes as strictly as accelerate does and sorts the devices. An empty `max_memory` is a
/// limit too: nothing fits but on disk. Numbers pass unchecked, negative ones too.
/// Throws ArgumentError for a device other than an integer, "mps", "cpu" or "disk" and for a size
/// that does not parse.
Budget reference_budget(const MaxMemory& max_memory);

/// The same for shoehorn's planner: lenient sizes, names such as "cuda:0" and "virtual:1" too, and
/// no negative or fractional bytes. Does not check that the devices exist.
std::map<DeviceKey, std::size_t> parse_max_memory(const MaxMemory& max_memory,
                                                  AcceleratorCounts counts);

}  // namespace shoehorn
