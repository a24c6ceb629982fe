#include "model/runtime.h"

#include <algorithm>
#include <cstring>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {

Runtime::Seat::Seat(Device seat_device, DeviceBuffer seat_memory,
                    std::unique_ptr<cuda::Queue> seat_queue, ThreadPool& pool, Isa isa)
    : device(seat_device),
      queue(std::move(seat_queue)),
      memory(std::move(seat_memory)),
      workspace(memory.bytes()),
      context{pool, isa, workspace, queue.get()} {}

Runtime::Runtime(ThreadPool& pool, Isa isa, DeviceMemory& memory,
                 const std::vector<Place>& places) {
  for (const Place& place : places) {
    const int card = memory.card_of(place.device);
    seats_.emplace_back(place.device,
                        memory.allocate(place.device, place.workspace_bytes, "the workspace"),
                        card < 0 ? nullptr : std::make_unique<cuda::Queue>(card), pool, isa);
  }
}

Runtime::Seat& Runtime::seat(Device device) {
  for (Seat& seat : seats_) {
    if (seat.device == device) return seat;
  }
  throw DeviceError(str_cat(to_string(device), " has no workspace"));
}

ExecContext& Runtime::on(Device device) {
  return seat(device).context;
}

std::vector<Device> Runtime::route_devices() const {
  std::vector<Device> devices;
  for (const Device device : route_->group_devices) {
    if (std::ranges::find(devices, device) == devices.end()) devices.push_back(device);
  }
  return devices;
}

void Runtime::copy(Device to, void* target, Device from, const void* source, std::size_t bytes) {
  if (bytes == 0) return;
  const cuda::Queue* const to_queue = to.kind == DeviceKind::kCuda ? seat(to).queue.get() : nullptr;
  const cuda::Queue* const from_queue =
      from.kind == DeviceKind::kCuda ? seat(from).queue.get() : nullptr;
  if (to_queue != nullptr && from_queue != nullptr) {
    cuda::copy_between(*to_queue, target, *from_queue, source, bytes);
  } else if (to_queue != nullptr) {
    cuda::upload(*to_queue, target, source, bytes);
  } else if (from_queue != nullptr) {
    cuda::download(*from_queue, target, source, bytes);
  } else {
    std::memcpy(target, source, bytes);
  }
}

std::span<std::byte> Runtime::pinned(Device device, std::size_t bytes) {
  Seat& place = seat(device);
  if (place.sent) place.sent->wait();
  if (place.pinned.size() < bytes) {
    place.pinned = {};
    place.pinned = cuda::PinnedMemory(bytes);
  }
  return place.pinned.bytes().first(bytes);
}

void Runtime::send_pinned(Device device, void* target, std::size_t bytes) {
  Seat& place = seat(device);
  if (!place.sent) place.sent.emplace(place.queue->ordinal());
  place.queue->make_current();
  cuda::copy_async(*place.queue, target, place.pinned.data(), bytes);
  place.sent->record(*place.queue);
}

void Runtime::deliver(Device from, const void* values, void* target, std::size_t bytes) {
  if (recorded_output_.empty()) return copy(Device{}, target, from, values, bytes);
  cuda::copy_async(*seat(from).queue, recorded_output_.data(), values, bytes);
  recorded_output_ = recorded_output_.subspan(bytes);
}

}  // namespace shoehorn
