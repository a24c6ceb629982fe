// Accounted memory of every device: each allocation is charged to its device and refused where it
// would break the limit. Virtual devices are accelerators made of host memory, so that everything
// that has several devices runs, and is tested, on a machine without a GPU.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/host_buffer.h"
#include "cuda/memory.h"
#include "tensor/device.h"

namespace shoehorn {

class DeviceMemory;

/// Owns an allocation and gives it back to its device's account. Thread-compatible.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  /// On a CUDA device addresses of its card, which the host must not touch.
  std::byte* data() { return bytes_.data(); }
  const std::byte* data() const { return bytes_.data(); }
  std::size_t size() const { return bytes_.size(); }
  std::span<std::byte> bytes() { return bytes_; }
  Device device() const { return device_; }

 private:
  friend class DeviceMemory;
  DeviceBuffer(HostBuffer buffer, DeviceMemory& memory, Device device);
  DeviceBuffer(cuda::CardMemory buffer, DeviceMemory& memory, Device device);

  HostBuffer host_;  // one of the two
  cuda::CardMemory card_;
  std::span<std::byte> bytes_;
  DeviceMemory* memory_ = nullptr;
  Device device_;
};

/// Bytes that someone else allocates, in the account of their device while this lives. Movable.
class DeviceCharge {
 public:
  ~DeviceCharge();
  DeviceCharge(DeviceCharge&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)),
        device_(other.device_),
        bytes_(other.bytes_) {}
  DeviceCharge& operator=(DeviceCharge&&) = delete;
  DeviceCharge(const DeviceCharge&) = delete;

 private:
  friend class DeviceMemory;
  DeviceCharge(DeviceMemory& memory, Device device, std::size_t bytes)
      : memory_(&memory), device_(device), bytes_(bytes) {}

  DeviceMemory* memory_;
  Device device_;
  std::size_t bytes_;
};

/// An accelerator that device maps may name by number.
struct Accelerator {
  Device device;
  std::size_t limit_bytes = 0;
  int card = -1;  // a CUDA device: the card's ordinal
};

/// The accelerators there are, in the order of their numbers in a device map: CUDA devices, a card
/// each or the pieces of the first card that SHOEHORN_LOGICAL_GPUS asks for ("2x8GiB"), then the
/// virtual ones that SHOEHORN_VIRTUAL_DEVICES asks for ("2x64MiB", "64MiB,1GiB"). Throws
/// ArgumentError where a variable cannot be understood, DeviceError for pieces of no card.
std::vector<Accelerator> find_accelerators();

/// Virtual devices from the variable's text.
std::vector<Accelerator> parse_virtual_devices(std::string_view text);

/// The account. Outlives its buffers. Thread-safe.
class DeviceMemory {
 public:
  explicit DeviceMemory(std::vector<Accelerator> accelerators)
      : accelerators_(std::move(accelerators)), used_(accelerators_.size() + 1, 0), peak_(used_) {}

  const std::vector<Accelerator>& accelerators() const { return accelerators_; }

  /// The card of a CUDA device, -1 for any other.
  int card_of(Device device) const;

  /// Lowers the limit of an accelerator, or sets that of the CPU (none to begin with).
  void set_limit(Device device, std::size_t bytes);

  /// `bytes` zero-filled on `device` (the CPU or an accelerator). `what` names them in the
  /// DeviceError that is thrown where the device's limit does not hold them.
  DeviceBuffer allocate(Device device, std::size_t bytes, std::string_view what);

  /// The account without an allocation. Throws as allocate() does.
  DeviceCharge charge(Device device, std::size_t bytes, std::string_view what);

  std::size_t used_bytes(Device device) const;
  std::size_t peak_bytes(Device device) const;

 private:
  friend class DeviceBuffer;
  friend class DeviceCharge;
  void take(Device device, std::size_t bytes, std::string_view what);
  std::size_t slot(Device device) const;
  cuda::CardMemory allocate_on_card(Device device, int card, std::size_t bytes,
                                    std::string_view what) const;
  void give_back(Device device, std::size_t bytes);

  std::vector<Accelerator> accelerators_;
  mutable std::mutex mutex_;
  std::size_t cpu_limit_ = 0;      // 0: none
  std::vector<std::size_t> used_;  // accelerators, then the CPU
  std::vector<std::size_t> peak_;
};

}  // namespace shoehorn
