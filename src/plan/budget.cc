#include "plan/budget.h"

#include <cmath>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/size_string.h"

namespace shoehorn {

Budget reference_budget(const MaxMemory& max_memory) {
  Budget budget;
  for (const auto& [name, amount] : max_memory) {
    const auto device = device_key_from_text(name);
    if (!device) {
      throw ArgumentError(str_cat("max_memory: \"", name.substr(0, 60),
                                  "\" is not a device: expected an integer for an accelerator, "
                                  "\"mps\", \"cpu\" or \"disk\""));
    }
    if (const auto* text = std::get_if<std::string>(&amount)) {
      budget[*device] = {parse_size_reference(*text), false};
    } else {
      budget[*device] = std::get<PyNumber>(amount);
    }
  }
  return budget;
}

std::map<DeviceKey, std::size_t> parse_max_memory(const MaxMemory& max_memory,
                                                  AcceleratorCounts counts) {
  std::map<DeviceKey, std::size_t> limits;
  for (const auto& [name, amount] : max_memory) {
    const auto device = parse_device(name, counts);
    if (!device) {
      throw ArgumentError(str_cat("max_memory: \"", name.substr(0, 60),
                                  "\" is not a device: write 0 (or cuda:0, virtual:0) for an "
                                  "accelerator, cpu or disk, as in 0=10GiB,cpu=6GiB"));
    }
    std::size_t bytes = 0;
    if (const auto* text = std::get_if<std::string>(&amount)) {
      bytes = parse_size(*text);
    } else {
      const double value = std::get<PyNumber>(amount).value;
      if (!(value >= 0) || value >= 0x1p63) {
        throw ArgumentError(str_cat("max_memory: ", name, "=", value,
                                    ": expected a number of bytes that is not negative"));
      }
      bytes = static_cast<std::size_t>(value);
    }
    if (!limits.emplace(*device, bytes).second) {
      throw ArgumentError(str_cat("max_memory: device ", to_string(*device), " is given twice (",
                                  name, " is another name for it)"));
    }
  }
  return limits;
}

}  // namespace shoehorn
