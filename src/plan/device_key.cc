#include "plan/device_key.h"

#include <charconv>
#include <limits>

#include "tensor/device.h"

namespace shoehorn {

std::string to_string(DeviceKey device) {
  switch (device.kind) {
    case DeviceKey::Kind::kAccelerator: return std::to_string(device.index);
    case DeviceKey::Kind::kMps: return "mps";
    case DeviceKey::Kind::kCpu: return "cpu";
    case DeviceKey::Kind::kDisk: return "disk";
  }
  return "?";
}

std::optional<DeviceKey> device_key_from_text(std::string_view text) {
  if (text == "cpu") return DeviceKey::cpu();
  if (text == "disk") return DeviceKey::disk();
  if (text == "mps") return DeviceKey::mps();
  int index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return DeviceKey::accelerator(index);
}

std::optional<DeviceKey> parse_device(std::string_view text, AcceleratorCounts counts) {
  if (const auto key = device_key_from_text(text)) {
    return key->is_accelerator() && key->index < 0 ? std::nullopt : key;
  }
  const auto device = device_from_name(text);
  if (!device || !device->is_accelerator()) return std::nullopt;
  if (device->kind == DeviceKind::kCuda) return DeviceKey::accelerator(device->index);
  if (device->index > std::numeric_limits<int>::max() - counts.cuda) return std::nullopt;
  return DeviceKey::accelerator(counts.cuda + device->index);
}

}  // namespace shoehorn
