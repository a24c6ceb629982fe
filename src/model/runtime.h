// Where a pass runs: the threads, and a workspace on every device that has layers.
#pragma once

#include <cstddef>
#include <list>
#include <span>
#include <utility>
#include <vector>

#include "kernels/exec_context.h"
#include "tensor/device.h"
#include "weights/device_memory.h"

namespace shoehorn {

/// Used by one pass at a time.
class Runtime {
 public:
  /// `group_devices`: where each weight group is computed, in the order of a pass; `devices`: those
  /// that hold weights, which are multiplied where they live. Throws DeviceError where a device has
  /// no room for its workspace.
  Runtime(ThreadPool& pool, Isa isa, DeviceMemory& memory, std::vector<Device> group_devices,
          const std::vector<Device>& devices, std::size_t workspace_bytes);

  /// The context of a device that computes; the CPU always does.
  ExecContext& on(Device device);
  Device group_device(std::size_t group) const { return group_devices_[group]; }
  /// Every device that has a workspace.
  std::vector<Device> devices() const;

 private:
  struct Place {
    Device device;
    DeviceBuffer memory;
    Workspace workspace;
    ExecContext context;
    Place(Device device, DeviceBuffer memory, ThreadPool& pool, Isa isa);
  };

  std::vector<Device> group_devices_;
  std::list<Place> places_;  // a list: contexts refer to their neighbours' members
};

}  // namespace shoehorn
