// A device as device maps and memory limits name it: a number for an accelerator, "cpu", "disk",
// and "mps" on Apple's machines.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace shoehorn {

struct DeviceKey {
  // In this order the reference planners fill devices.
  enum class Kind { kAccelerator, kMps, kCpu, kDisk };
  Kind kind = Kind::kCpu;
  int index = 0;  // of an accelerator; 0 for the others

  static constexpr DeviceKey accelerator(int index) { return {Kind::kAccelerator, index}; }
  static constexpr DeviceKey mps() { return {Kind::kMps, 0}; }
  static constexpr DeviceKey cpu() { return {Kind::kCpu, 0}; }
  static constexpr DeviceKey disk() { return {Kind::kDisk, 0}; }

  bool is_accelerator() const { return kind == Kind::kAccelerator; }
  bool is_cpu() const { return kind == Kind::kCpu; }
  bool is_disk() const { return kind == Kind::kDisk; }
  friend auto operator<=>(const DeviceKey&, const DeviceKey&) = default;
};

/// "0", "mps", "cpu", "disk".
std::string to_string(DeviceKey device);

/// The inverse; "-1" is a device too (accelerate takes it). Nothing for any other text.
std::optional<DeviceKey> device_key_from_text(std::string_view text);

/// How many accelerators of each kind there are, which gives their names numbers: CUDA devices
/// first, then virtual ones.
struct AcceleratorCounts {
  int cuda = 0;
  int virtual_devices = 0;

  int total() const { return cuda + virtual_devices; }
};

/// A device as users write it: also "cuda:1", "cuda" (the first) and "virtual:0", turned into the
/// one number that accelerator has. Nothing for any other text. Whether the device exists is not
/// looked at, except that virtual devices count from `counts.cuda`.
std::optional<DeviceKey> parse_device(std::string_view text, AcceleratorCounts counts);

}  // namespace shoehorn
