// Where a tensor lives and where an operation runs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shoehorn {

enum class DeviceKind : std::uint8_t {
  kCpu,
  kDisk,     // in the checkpoint's files, streamed just in time
  kVirtual,  // an accelerator made of host memory with its own arena and limit
  kCuda,
};

struct Device {
  DeviceKind kind = DeviceKind::kCpu;
  int index = 0;

  friend bool operator==(const Device&, const Device&) = default;
  bool is_accelerator() const { return kind == DeviceKind::kVirtual || kind == DeviceKind::kCuda; }
};

/// "cpu", "disk", "virtual:0", "cuda:1".
std::string to_string(Device device);

/// The inverse; "cuda" and "virtual" mean index 0. Nothing for any other text.
std::optional<Device> device_from_name(std::string_view name);

}  // namespace shoehorn
