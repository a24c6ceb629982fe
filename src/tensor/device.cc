#include "tensor/device.h"

#include <charconv>

#include "base/str_cat.h"

namespace shoehorn {

std::string to_string(Device device) {
  switch (device.kind) {
    case DeviceKind::kCpu: return "cpu";
    case DeviceKind::kDisk: return "disk";
    case DeviceKind::kVirtual: return str_cat("virtual:", device.index);
    case DeviceKind::kCuda: return str_cat("cuda:", device.index);
  }
  return "?";
}

std::optional<Device> device_from_name(std::string_view name) {
  if (name == "cpu") return Device{DeviceKind::kCpu};
  if (name == "disk") return Device{DeviceKind::kDisk};
  for (const auto& [prefix, kind] : {std::pair{std::string_view("virtual"), DeviceKind::kVirtual},
                                     std::pair{std::string_view("cuda"), DeviceKind::kCuda}}) {
    if (!name.starts_with(prefix)) continue;
    std::string_view rest = name.substr(prefix.size());
    if (rest.empty()) return Device{kind, 0};
    if (rest.front() != ':') return std::nullopt;
    rest.remove_prefix(1);
    int index = -1;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), index);
    if (error != std::errc() || end != rest.data() + rest.size() || index < 0) return std::nullopt;
    return Device{kind, index};
  }
  return std::nullopt;
}

}  // namespace shoehorn
