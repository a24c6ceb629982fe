// Where a pass runs: the threads, a workspace on every device that computes, and for CUDA devices
// the queue their work goes to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cuda/memory.h"
#include "cuda/queue.h"
#include "kernels/exec_context.h"
#include "tensor/device.h"
#include "weights/device_memory.h"

namespace shoehorn {

class AdapterSet;

/// The devices of a pass.
struct Route {
  std::vector<Device> group_devices;  // where each weight group is computed; never kDisk
  /// The groups whose weights come to the CUDA device that computes them from host memory and disk;
  /// those of others are multiplied where they live.
  std::vector<std::size_t> brought = {};
  std::int64_t most_rows = std::numeric_limits<std::int64_t>::max();  // that go this way in a call
};

/// Used by one pass at a time.
class Runtime {
 public:
  struct Place {
    Device device;
    std::size_t workspace_bytes = 0;
  };

  /// `places`: every device that computes, or holds weights that are multiplied there; the CPU is
  /// one of them. Throws DeviceError where a device has no room for its workspace.
  Runtime(ThreadPool& pool, Isa isa, DeviceMemory& memory, const std::vector<Place>& places);

  /// What project() adds beside weights; null: nothing. Outlives the passes.
  void set_adapters(AdapterSet* adapters) { adapters_ = adapters; }
  AdapterSet* adapters() const { return adapters_; }

  /// The way of the passes from now on; it outlives them.
  void set_route(const Route& route) { route_ = &route; }
  Device group_device(std::size_t group) const { return route_->group_devices[group]; }
  /// The devices that compute a group of the route.
  std::vector<Device> route_devices() const;

  /// The context of a device that computes.
  ExecContext& on(Device device);

  /// Copies between memory of any two devices, in the order of both devices' work. Host memory may
  /// be changed or read when this returns.
  void copy(Device to, void* target, Device from, const void* source, std::size_t bytes);

  /// Page-locked scratch that lives as long as the device, for what a pass sends to it.
  std::span<std::byte> pinned(Device device, std::size_t bytes);
  /// Sends the scratch's first bytes to `target`, without waiting; the next pinned() call does.
  void send_pinned(Device device, void* target, std::size_t bytes);

  /// While a graph is recorded, what a pass gives to the host goes here, page-locked, in order.
  void set_recorded_output(std::span<std::byte> output) { recorded_output_ = output; }
  /// Copies results from a device to the host: at once, or, in a recording, when the graph is run.
  void deliver(Device from, const void* values, void* target, std::size_t bytes);

 private:
  struct Seat {
    Device device;
    std::unique_ptr<cuda::Queue> queue;  // of a CUDA device
    cuda::PinnedMemory pinned;
    std::optional<cuda::Event> sent;  // the scratch was read
    DeviceBuffer memory;
    Workspace workspace;
    ExecContext context;
    Seat(Device device, DeviceBuffer memory, std::unique_ptr<cuda::Queue> queue, ThreadPool& pool,
         Isa isa);
  };
  Seat& seat(Device device);

  const Route* route_ = nullptr;
  AdapterSet* adapters_ = nullptr;
  std::list<Seat> seats_;  // a list: contexts refer to their neighbours' members
  std::span<std::byte> recorded_output_;
};

}  // namespace shoehorn
