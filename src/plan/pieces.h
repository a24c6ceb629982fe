// The model cut into the pieces that the search places: the tensors that one module owns directly.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "plan/cost_model.h"

namespace shoehorn {

/// Sums are signed so that "free minus needed" may go below zero.
using Bytes = std::int64_t;

/// Bytes in memory, which depend on the device where a weight has another form there.
struct TierBytes {
  Bytes usual = 0;
  std::map<DeviceKey, Bytes> more = {};  // than usual; below 0: less

  Bytes on(DeviceKey device) const {
    const auto found = more.find(device);
    return usual + (found == more.end() ? 0 : found->second);
  }
  Bytes on_cpu() const { return on(DeviceKey::cpu()); }
  void add(const TierBytes& other) {
    usual += other.usual;
    for (const auto& [device, bytes] : other.more) more[device] += bytes;
  }
};

struct Piece {
  NodeId module = 0;
  int layer = -1;              // position in layer_paths, or -1
  std::string_view name = {};  // path within its layer: "mlp.down_proj"
  std::vector<std::size_t> weights = {};
  TierBytes resident;
  Bytes streamed = 0;
  Bytes slot = 0;          // staging; 0 for rows_only
  bool rows_only = false;  // nothing but embedding rows
  bool small = false;      // a norm or the like outside the layers: resident wherever possible
};

struct LayerCost {
  std::vector<std::size_t> pieces;
  TierBytes resident;
  Bytes kv = 0;
};

/// The part of a layer that is streamed: pieces of these names, or the whole layer.
struct StreamPattern {
  std::vector<std::string_view> names = {};  // empty: the whole layer
  std::vector<Bytes> resident = {};          // by layer: what streaming it frees on the CPU
  std::vector<Bytes> streamed = {};
  std::vector<Bytes> slot = {};

  bool whole() const { return names.empty(); }
};

struct ModelPieces {
  std::vector<Piece> pieces;  // in tree order
  std::vector<LayerCost> layers;
  std::vector<std::size_t> loose;  // pieces outside layers
};

/// Throws ArgumentError where sizes are too large to add up.
ModelPieces cut_into_pieces(const CostModel& model);

/// The whole layer first, then parts of it from large to small: single modules and the largest few
/// together. At most 16.
std::vector<StreamPattern> stream_patterns(const ModelPieces& pieces, bool parts_too);

}  // namespace shoehorn
