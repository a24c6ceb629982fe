#include "plan/pieces.h"

#include <algorithm>
#include <map>
#include <set>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMaxPatterns = 16;
// Outside the layers, what is smaller than this share of a layer is not worth streaming.
constexpr Bytes kSmallShare = 64;
constexpr Bytes kSmallBytes = Bytes{1} << 20;
// The sums of any model stay far below 2^62.
constexpr std::size_t kMaxBytes = std::size_t{1} << 50;

Bytes checked_bytes(std::size_t bytes, const std::string& path) {
  if (bytes > kMaxBytes) throw ArgumentError(str_cat("plan: ", path, ": ", bytes, " bytes"));
  return static_cast<Bytes>(bytes);
}

void add_pattern(const ModelPieces& model, std::vector<std::string_view> names,
                 std::vector<StreamPattern>& patterns) {
  StreamPattern pattern{.names = std::move(names)};
  for (const LayerCost& layer : model.layers) {
    Bytes resident = 0;
    Bytes streamed = 0;
    Bytes slot = 0;
    for (const std::size_t p : layer.pieces) {
      const Piece& piece = model.pieces[p];
      if (!pattern.whole() && std::ranges::find(pattern.names, piece.name) == pattern.names.end()) {
        continue;
      }
      resident += piece.resident.on_cpu();
      streamed += piece.streamed;
      slot += piece.slot;
    }
    pattern.resident.push_back(resident);
    pattern.streamed.push_back(streamed);
    pattern.slot.push_back(slot);
  }
  patterns.push_back(std::move(pattern));
}

}  // namespace

ModelPieces cut_into_pieces(const CostModel& model) {
  const PlanInput& input = model.input();
  ModelPieces result;
  result.layers.resize(input.layer_paths.size());
  std::vector<int> piece_of_module(static_cast<std::size_t>(model.tree().size()), -1);
  for (std::size_t w = 0; w < input.weights.size(); ++w) {
    if (!model.counts(w)) continue;
    const WeightCost& cost = input.weights[w];
    const NodeId module = model.module_of(w);
    int& at = piece_of_module[static_cast<std::size_t>(module)];
    if (at < 0) {
      at = static_cast<int>(result.pieces.size());
      Piece piece{.module = module, .layer = model.layer_of(w), .resident = {}, .rows_only = true};
      if (piece.layer >= 0) {
        const std::string& layer = input.layer_paths[static_cast<std::size_t>(piece.layer)];
        const std::string& path = model.tree().node(module).path;
        piece.name = std::string_view(path).substr(std::min(path.size(), layer.size() + 1));
      }
      result.pieces.push_back(std::move(piece));
    }
    Piece& piece = result.pieces[static_cast<std::size_t>(at)];
    piece.weights.push_back(w);
    TierBytes resident{.usual = checked_bytes(cost.resident_bytes, cost.path)};
    for (const auto& [device, tier] : cost.tiers) {
      resident.more[device] = checked_bytes(tier.resident_bytes, cost.path) - resident.usual;
    }
    piece.resident.add(resident);
    piece.streamed += checked_bytes(cost.streamed_bytes, cost.path);
    if (!cost.rows_only) piece.slot += checked_bytes(cost.staging_bytes, cost.path);
    piece.rows_only = piece.rows_only && cost.rows_only;
  }
  std::ranges::sort(result.pieces, {}, &Piece::module);

  Bytes largest_layer = 0;
  for (std::size_t p = 0; p < result.pieces.size(); ++p) {
    const Piece& piece = result.pieces[p];
    if (piece.layer < 0) {
      result.loose.push_back(p);
      continue;
    }
    LayerCost& layer = result.layers[static_cast<std::size_t>(piece.layer)];
    layer.pieces.push_back(p);
    layer.resident.add(piece.resident);
    largest_layer = std::max(largest_layer, layer.resident.on_cpu());
  }
  for (std::size_t i = 0; i < input.kv_bytes_per_layer.size(); ++i) {
    result.layers[i].kv = checked_bytes(input.kv_bytes_per_layer[i], input.layer_paths[i]);
  }
  for (const std::size_t p : result.loose) {
    Piece& piece = result.pieces[p];
    const Bytes bytes = piece.resident.on_cpu();
    piece.small = !piece.rows_only && bytes <= kSmallBytes && bytes * kSmallShare <= largest_layer;
  }
  return result;
}

std::vector<StreamPattern> stream_patterns(const ModelPieces& model, bool parts_too) {
  std::vector<StreamPattern> patterns;
  add_pattern(model, {}, patterns);
  if (!parts_too || model.layers.empty()) return patterns;
  std::map<std::string_view, Bytes> size_of;
  for (const Piece& piece : model.pieces) {
    if (piece.layer >= 0)
      size_of[piece.name] = std::max(size_of[piece.name], piece.resident.on_cpu());
  }
  std::vector<std::pair<Bytes, std::string_view>> by_size;
  for (const auto& [name, bytes] : size_of) by_size.emplace_back(bytes, name);
  std::ranges::sort(by_size, [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  std::vector<std::string_view> largest;
  std::set<Bytes> singles;  // one of several modules of the same size is enough
  for (const auto& [bytes, name] : by_size) {
    if (bytes == 0 || patterns.size() + 2 > kMaxPatterns) break;
    if (singles.insert(bytes).second) add_pattern(model, {name}, patterns);
    largest.push_back(name);
    if (largest.size() > 1 && largest.size() < by_size.size())
      add_pattern(model, largest, patterns);
  }
  return patterns;
}

}  // namespace shoehorn
