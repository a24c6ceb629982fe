// Host memory for weights and workspaces: aligned, in huge pages where the system has them.
#pragma once

#include <cstddef>
#include <span>

namespace shoehorn {

/// Owns zero-filled memory of its own mapping, 64-byte aligned at least. Pages are committed when
/// they are first written. Not copyable; thread-compatible.
class HostBuffer {
 public:
  HostBuffer() = default;
  /// Throws DeviceError naming the size if the system has no room.
  explicit HostBuffer(std::size_t bytes);
  ~HostBuffer();
  HostBuffer(HostBuffer&& other) noexcept;
  HostBuffer& operator=(HostBuffer&& other) noexcept;
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  std::span<std::byte> bytes() { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  void* mapping_ = nullptr;
  std::size_t mapping_bytes_ = 0;
};

}  // namespace shoehorn
