#include "model/runtime.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {

Runtime::Place::Place(Device place_device, DeviceBuffer place_memory, ThreadPool& pool, Isa isa)
    : device(place_device),
      memory(std::move(place_memory)),
      workspace(memory.bytes()),
      context{pool, isa, workspace} {}

Runtime::Runtime(ThreadPool& pool, Isa isa, DeviceMemory& memory, std::vector<Device> group_devices,
                 const std::vector<Device>& devices, std::size_t workspace_bytes)
    : group_devices_(std::move(group_devices)) {
  std::vector<Device> all = {Device{}};
  for (const std::vector<Device>& list : {group_devices_, devices}) {
    for (const Device device : list) {
      if (std::ranges::find(all, device) == all.end()) all.push_back(device);
    }
  }
  for (const Device device : all) {
    places_.emplace_back(device, memory.allocate(device, workspace_bytes, "the workspace"), pool,
                         isa);
  }
}

ExecContext& Runtime::on(Device device) {
  for (Place& place : places_) {
    if (place.device == device) return place.context;
  }
  throw DeviceError(str_cat(to_string(device), " has no workspace"));
}

std::vector<Device> Runtime::devices() const {
  std::vector<Device> devices;
  for (const Place& place : places_) devices.push_back(place.device);
  return devices;
}

}  // namespace shoehorn
