// Layers whose keys and values lie on disk, because the cache alone is larger than memory: a file
// without a name holds them, and one layer of one sequence at a time is in memory while it attends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/scratch_file.h"
#include "kernels/attention.h"
#include "weights/device_memory.h"

namespace shoehorn {

/// Room in host memory for the cache of one layer and sequence, which all caches of a model share.
/// Used by one pass at a time.
class KvWindow {
 public:
  /// Throws DeviceError where there is no room.
  KvWindow(std::size_t bytes, DeviceMemory& memory);

  std::byte* data() { return buffer_.data(); }
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  friend class KvFile;
  DeviceBuffer buffer_;
  // What is there: a layer of a file, up to a position.
  std::uint64_t file_ = 0;
  std::size_t layer_ = 0;
  std::int64_t positions_ = 0;
  std::uint64_t bytes_read_ = 0;
};

/// How the caches of a model are spilled.
struct KvSpill {
  std::vector<bool> layers = {};      // which; empty: none
  std::filesystem::path folder = {};  // of the files
  KvWindow* window = nullptr;         // outlives the caches; null where no layer is spilled

  bool is_spilled(std::size_t layer) const { return layer < layers.size() && layers[layer]; }
};

/// Which `spilled` of `layers` layers are on disk: evenly spread, so that the drive has time for
/// each while those between are computed.
std::vector<bool> spread_spilled_layers(std::size_t layers, std::size_t spilled);

/// The spilled layers of one sequence, as views of the window see them. Thread-compatible.
class KvFile {
 public:
  /// `layer_bytes`: of each layer; 0 for those that are not spilled. Throws FileError where the
  /// drive has no room.
  KvFile(const std::filesystem::path& folder, const std::vector<std::size_t>& layer_bytes,
         KvWindow& window);

  /// Makes `view`, whose keys and values point into the window, hold positions [0, positions).
  void load(std::size_t layer, const KvCacheView& view, std::int64_t positions);
  /// Writes positions [start, start + count) of the view, which load() filled before.
  void store(std::size_t layer, const KvCacheView& view, std::int64_t start, std::int64_t count);

 private:
  std::uint64_t id_;  // no two files of a process have the same
  std::vector<std::uint64_t> offsets_;
  ScratchFile file_;
  KvWindow& window_;
};

}  // namespace shoehorn
