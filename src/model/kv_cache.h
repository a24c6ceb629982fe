// Keys and values of one sequence, layer by layer, on the device where the layer runs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/attention.h"
#include "model/kv_spill.h"
#include "model/rope.h"
#include "tensor/device.h"
#include "tensor/dtype.h"
#include "weights/device_memory.h"

namespace shoehorn {

/// What one layer keeps of a position.
struct LayerKvShape {
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;  // of a value, where that is not head_dim; else 0
  /// Positions that a token sees, itself included; 0: all. The cache holds all of them either way.
  std::int64_t sliding_window = 0;

  std::int64_t value_width() const { return value_dim > 0 ? value_dim : head_dim; }
};

/// Bytes of one layer's keys and values for `positions` positions.
std::size_t kv_bytes(const LayerKvShape& shape, DType dtype, std::int64_t positions);

/// Room for `capacity` positions, committed when it is made. Not copyable; thread-compatible.
class KvCache {
 public:
  /// Spilled layers are on the CPU. Throws DeviceError where a device has no room, FileError where
  /// the drive has none for spilled layers.
  KvCache(const std::vector<LayerKvShape>& shapes, const std::vector<Device>& devices, DType dtype,
          std::int64_t capacity, DeviceMemory& memory, const KvSpill& spill = {});

  std::size_t layers() const { return layers_.size(); }
  /// Where the keys and values of a layer lie.
  Device device(std::int64_t layer) const { return devices_[static_cast<std::size_t>(layer)]; }
  std::int64_t length() const { return length_; }
  std::int64_t capacity() const { return capacity_; }
  /// Marks `count` more positions as filled; they have been stored in every layer.
  void advance(std::int64_t count) { length_ += count; }
  /// The ids of the positions filled, for models that may have to compute them again; else empty.
  std::vector<std::int32_t>& ids() { return ids_; }
  /// Forgets positions from `length` on.
  void truncate(std::int64_t length);

  /// Keys [num_key_value_heads, capacity, head_dim] and values of a layer. Of a spilled one they
  /// hold nothing before load().
  KvCacheView layer(std::int64_t layer);

  /// layer() with the positions before `positions` in memory, until the next call for any cache
  /// that shares the window. Throws FileError.
  KvCacheView load(std::int64_t layer, std::int64_t positions);
  /// Positions [start, start + count) of the layer that was loaded last are there now. Throws
  /// FileError.
  void store(std::int64_t layer, std::int64_t start, std::int64_t count);

  RopeState& rope_state() { return rope_state_; }

 private:
  std::vector<LayerKvShape> shapes_;
  DType dtype_;
  std::int64_t capacity_;
  std::int64_t length_ = 0;
  std::vector<Device> devices_;
  std::vector<std::int32_t> ids_;
  std::vector<DeviceBuffer> layers_;  // keys, then values; empty where spilled
  std::optional<KvFile> file_;        // of spilled layers
  KvWindow* window_ = nullptr;
  RopeState rope_state_;
};

}  // namespace shoehorn
