#include "plan/placement_search.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "plan/leaf_placement.h"
#include "plan/pieces.h"
#include "plan/room.h"

namespace shoehorn {
namespace {

// Streaming parts of layers makes maps longer, and a head in a slot of its own interrupts the
// stream: what comes with either must leave no more than this share of the bytes to be worth it.
constexpr double kWorthTheTrouble = 0.9;
constexpr std::size_t kMaxLooseChoices = 12;
constexpr int kBalanceSteps = 24;

/// What is streamed.
struct Choice {
  std::vector<bool> loose_on_disk;         // by position in ModelPieces::loose
  const StreamPattern* pattern = nullptr;  // the part of a layer that is
  std::vector<bool> layer_on_disk;         // the layers of which that part is
  int slots = 0;
  double accelerator_share = 1;  // of each accelerator's room that may be used
};

/// Where everything goes, and what that costs.
struct Placed {
  std::vector<DeviceKey> layers;  // of what is resident of each; disk where nothing is
  std::vector<DeviceKey> loose;   // by position in ModelPieces::loose
  Bytes streamed = 0;
  int slots = 0;
};

}  // namespace

class PlacementSearch::Search {
 public:
  explicit Search(const CostModel& model);
  std::optional<FoundPlacement> with_slots(int slots) const;

 private:
  /// One unit in order of execution.
  struct Unit {
    bool is_layer;
    std::size_t index;  // of the layer, or position in ModelPieces::loose
  };

  std::optional<Placed> fewest_layers(Choice& choice) const;
  std::optional<Placed> with_layers(Choice& choice, std::size_t count) const;
  std::vector<bool> streamed_layers(std::size_t count) const;
  std::optional<Placed> place(const Choice& choice) const;
  void refill(Choice& choice, Placed& placed) const;
  Placed balanced(Choice choice, Placed placed) const;
  FoundPlacement spell_out(const Choice& choice, const Placed& placed) const;
  FoundPlacement spell_out(const LeafPlacement& placed) const;

  std::vector<std::vector<bool>> loose_choices() const;
  bool streams_large_loose(const Choice& choice) const;
  bool may_split_layers() const;
  bool reserve_streams(const Choice& choice, Room& room, Placed& placed) const;
  bool place_layer(const Choice& choice, std::size_t layer, Room& room, Placed& placed) const;
  bool place_loose(std::size_t position, Room& room, Placed& placed) const;
  bool place_small(std::size_t position, Room& room, Placed& placed) const;
  const Piece& loose_piece(std::size_t position) const {
    return pieces_.pieces[pieces_.loose[position]];
  }

  const CostModel& model_;
  const PlanInput& input_;
  ModelPieces pieces_;
  std::vector<StreamPattern> patterns_;
  std::vector<Unit> units_;
  std::vector<std::size_t> after_loose_;  // by position: the unit that follows it
};

PlacementSearch::Search::Search(const CostModel& model)
    : model_(model), input_(model.input()), pieces_(cut_into_pieces(model)) {
  patterns_ = stream_patterns(pieces_, may_split_layers());
  int done_layer = -1;
  std::size_t position = 0;
  for (const Piece& piece : pieces_.pieces) {
    if (piece.layer < 0) {
      units_.push_back({false, position++});
      after_loose_.push_back(units_.size());
    } else if (piece.layer > done_layer) {
      done_layer = piece.layer;
      units_.push_back({true, static_cast<std::size_t>(piece.layer)});
    }
  }
}

// A part of a layer that is computed on an accelerator would cross the link: only whole layers
// then.
bool PlacementSearch::Search::may_split_layers() const {
  if (!input_.split_layers || !input_.devices.contains(DeviceKey::cpu())) return false;
  return std::ranges::all_of(input_.devices, [](const auto& entry) {
    return entry.first.is_cpu() || entry.second.limit_bytes == 0;
  });
}

bool PlacementSearch::Search::streams_large_loose(const Choice& choice) const {
  for (std::size_t i = 0; i < pieces_.loose.size(); ++i) {
    if (choice.loose_on_disk[i] && !loose_piece(i).rows_only && !loose_piece(i).small) return true;
  }
  return false;
}

// Nothing; embeddings whose rows can be fetched; then the larger modules one after the other;
// everything.
std::vector<std::vector<bool>> PlacementSearch::Search::loose_choices() const {
  std::vector<std::size_t> large;
  std::vector<bool> on_disk(pieces_.loose.size(), false);
  std::vector<std::vector<bool>> choices = {on_disk};
  for (std::size_t i = 0; i < pieces_.loose.size(); ++i) {
    if (loose_piece(i).rows_only) {
      on_disk[i] = true;
    } else if (!loose_piece(i).small) {
      large.push_back(i);
    }
  }
  if (on_disk != choices.front()) choices.push_back(on_disk);
  std::ranges::stable_sort(large, std::greater<>(),
                           [this](std::size_t i) { return loose_piece(i).resident.on_cpu(); });
  const std::size_t step = 1 + large.size() / kMaxLooseChoices;
  for (std::size_t n = 0; n < large.size(); ++n) {
    on_disk[large[n]] = true;
    if ((n + 1) % step == 0 || n + 1 == large.size()) choices.push_back(on_disk);
  }
  choices.emplace_back(pieces_.loose.size(), true);
  return choices;
}

// Staging for the largest group, and the KV cache of layers that are computed on the CPU because
// they are streamed.
bool PlacementSearch::Search::reserve_streams(const Choice& choice, Room& room,
                                              Placed& placed) const {
  Bytes slot = 0;
  int groups = 0;
  for (std::size_t i = 0; i < pieces_.loose.size(); ++i) {
    if (!choice.loose_on_disk[i]) continue;
    placed.streamed += loose_piece(i).streamed;
    slot = std::max(slot, loose_piece(i).slot);
    groups += loose_piece(i).rows_only ? 0 : 1;
  }
  Bytes kv = 0;
  for (std::size_t i = 0; i < pieces_.layers.size(); ++i) {
    if (!choice.layer_on_disk[i]) continue;
    placed.streamed += choice.pattern->streamed[i];
    slot = std::max(slot, choice.pattern->slot[i]);
    kv += pieces_.layers[i].kv;
    ++groups;
  }
  placed.slots = std::min(choice.slots, groups);
  return room.take_host(slot * placed.slots) && room.take_host(kv);
}

bool PlacementSearch::Search::place_layer(const Choice& choice, std::size_t l, Room& room,
                                          Placed& placed) const {
  const LayerCost& layer = pieces_.layers[l];
  const bool streamed = choice.layer_on_disk[l];
  if (streamed && choice.pattern->whole()) return true;
  // A layer of which a part is streamed is computed on the CPU; its KV cache is there already.
  for (std::size_t i = 0; i < room.order().size(); ++i) {
    const Bytes bytes = streamed ? layer.resident.on_cpu() - choice.pattern->resident[l]
                                 : layer.resident.on(room.order()[i]) + layer.kv;
    if ((streamed && !room.order()[i].is_cpu()) || !room.take(i, bytes)) continue;
    placed.layers[l] = room.order()[i];
    return true;
  }
  return false;
}

// Into the first device with room; embeddings of which only rows are read gain nothing from an
// accelerator, so they try the CPU first. But where all layers are on accelerators with memory of
// their own, the first layer's has the embedding too if there is room: the whole pass stays there.
bool PlacementSearch::Search::place_loose(std::size_t position, Room& room, Placed& placed) const {
  const Piece& piece = loose_piece(position);
  const std::vector<DeviceKey>& order = room.order();
  const auto take = [&](std::size_t i) {
    if (!room.take(i, piece.resident.on(order[i]))) return false;
    placed.loose[position] = order[i];
    return true;
  };
  if (piece.rows_only && !placed.layers.empty() &&
      std::ranges::all_of(placed.layers, &DeviceKey::is_accelerator)) {
    const auto first =
        static_cast<std::size_t>(std::ranges::find(order, placed.layers.front()) - order.begin());
    if (!room.is_host_memory(first) && take(first)) return true;
  }
  for (std::size_t k = 0; k < order.size(); ++k) {
    if (take(piece.rows_only ? order.size() - 1 - k : k)) return true;
  }
  return false;
}

// A final norm belongs with the head that follows it.
bool PlacementSearch::Search::place_small(std::size_t position, Room& room, Placed& placed) const {
  const std::size_t next = after_loose_[position];
  if (next < units_.size()) {
    const Unit& unit = units_[next];
    const DeviceKey wanted = unit.is_layer ? placed.layers[unit.index] : placed.loose[unit.index];
    for (std::size_t i = 0; i < room.order().size(); ++i) {
      if (room.order()[i] != wanted || !room.take(i, loose_piece(position).resident.on(wanted))) {
        continue;
      }
      placed.loose[position] = wanted;
      return true;
    }
  }
  return place_loose(position, room, placed);
}

std::optional<Placed> PlacementSearch::Search::place(const Choice& choice) const {
  Room room(model_, choice.accelerator_share);
  Placed placed{.layers = std::vector(pieces_.layers.size(), DeviceKey::disk()),
                .loose = std::vector(pieces_.loose.size(), DeviceKey::disk())};
  if (!room.is_valid() || !reserve_streams(choice, room, placed)) return std::nullopt;
  for (const Unit& unit : units_) {
    if (unit.is_layer) {
      if (!place_layer(choice, unit.index, room, placed)) return std::nullopt;
      continue;
    }
    const Piece& piece = loose_piece(unit.index);
    if (choice.loose_on_disk[unit.index] || piece.small || piece.rows_only) continue;
    if (!place_loose(unit.index, room, placed)) return std::nullopt;
  }
  // Backwards, so that what follows has its place.
  for (std::size_t i = pieces_.loose.size(); i-- > 0;) {
    const Piece& piece = loose_piece(i);
    if (choice.loose_on_disk[i] || !(piece.small || piece.rows_only)) continue;
    const bool fits = piece.small ? place_small(i, room, placed) : place_loose(i, room, placed);
    if (!fits) return std::nullopt;
  }
  return placed;
}

// Evenly spread: the running share of streamed layers stays as close to count / n as it can.
std::vector<bool> PlacementSearch::Search::streamed_layers(std::size_t count) const {
  const std::size_t n = pieces_.layers.size();
  std::vector<bool> streamed(n);
  for (std::size_t i = 0; i < n; ++i) {
    streamed[i] = input_.strategy == Strategy::kSequential
                      ? i >= n - count
                      : ((i + 1) * count + n / 2) / n > (i * count + n / 2) / n;
  }
  return streamed;
}

std::optional<Placed> PlacementSearch::Search::with_layers(Choice& choice,
                                                           std::size_t count) const {
  choice.layer_on_disk = streamed_layers(count);
  return place(choice);
}

std::optional<Placed> PlacementSearch::Search::fewest_layers(Choice& choice) const {
  const std::size_t n = pieces_.layers.size();
  if (n == 0) return with_layers(choice, 0);
  std::optional<Placed> best = with_layers(choice, n);
  if (!best) {
    // With all layers streamed their KV caches are all on the CPU; fewer may fit where accelerators
    // take some.
    for (std::size_t count = 1; count < n && !best && choice.pattern->whole(); ++count) {
      best = with_layers(choice, count);
    }
    return best;
  }
  std::size_t low = 0;  // does not fit: the caller has tried it
  std::size_t high = n;
  while (high - low > 1) {
    const std::size_t middle = low + (high - low) / 2;
    if (auto placed = with_layers(choice, middle)) {
      best = std::move(placed);
      high = middle;
    } else {
      low = middle;
    }
  }
  choice.layer_on_disk = streamed_layers(high);
  return best;
}

// Whatever is streamed and fits what room is left after all becomes resident: first what saves most
// reading for its bytes (forms may differ with the place, and of an embedding only rows are read),
// then the largest. Layers differ in size, and an even spread does not fill every gap.
void PlacementSearch::Search::refill(Choice& choice, Placed& placed) const {
  if (placed.streamed == 0 || input_.strategy == Strategy::kSequential) return;
  Room room(model_);
  Placed again{.layers = placed.layers, .loose = placed.loose};
  const auto index_of = [&room](DeviceKey device) {
    return static_cast<std::size_t>(std::ranges::find(room.order(), device) - room.order().begin());
  };
  reserve_streams(choice, room, again);
  struct Streamed {
    double saved_share;
    Bytes bytes;
    Unit unit;
  };
  std::vector<Streamed> streamed;
  for (const Unit& unit : units_) {
    const DeviceKey device = unit.is_layer ? placed.layers[unit.index] : placed.loose[unit.index];
    const bool part = unit.is_layer && choice.layer_on_disk[unit.index];
    const TierBytes& resident =
        unit.is_layer ? pieces_.layers[unit.index].resident : loose_piece(unit.index).resident;
    if (device.is_disk()) {
      const Bytes bytes = resident.on_cpu();
      const Bytes saved =
          unit.is_layer ? choice.pattern->streamed[unit.index] : loose_piece(unit.index).streamed;
      const double share =
          static_cast<double>(saved) / static_cast<double>(std::max<Bytes>(bytes, 1));
      streamed.push_back({share, bytes, unit});
      continue;
    }
    Bytes bytes = resident.on(device);
    if (part) bytes -= choice.pattern->resident[unit.index];
    if (unit.is_layer && !part) bytes += pieces_.layers[unit.index].kv;
    room.take(index_of(device), bytes);
  }
  std::ranges::stable_sort(streamed, std::greater<>(),
                           [](const Streamed& s) { return std::pair(s.saved_share, s.bytes); });
  for (const auto& [share, size, unit] : streamed) {
    for (std::size_t i = 0; i < room.order().size(); ++i) {
      const TierBytes& resident =
          unit.is_layer ? pieces_.layers[unit.index].resident : loose_piece(unit.index).resident;
      const Bytes bytes = resident.on(room.order()[i]);
      // The KV cache of a streamed layer has its room on the CPU already.
      const bool moves_kv = unit.is_layer && !room.order()[i].is_cpu();
      if (!room.take(i, bytes + (moves_kv ? pieces_.layers[unit.index].kv : 0))) continue;
      (unit.is_layer ? placed.layers : placed.loose)[unit.index] = room.order()[i];
      if (unit.is_layer) {
        choice.layer_on_disk[unit.index] = false;
        placed.streamed -= choice.pattern->streamed[unit.index];
      } else {
        choice.loose_on_disk[unit.index] = false;
        placed.streamed -= loose_piece(unit.index).streamed;
      }
      break;
    }
  }
}

// Where all that is resident is on accelerators, spreads it over them: the smallest share of each
// that still holds it. What comes last, the CPU and the accelerator that balanced_low_0 spares,
// must stay as unused as it was.
Placed PlacementSearch::Search::balanced(Choice choice, Placed placed) const {
  const std::vector<DeviceKey> order = Room(model_).order();
  std::vector<DeviceKey> last = {DeviceKey::cpu()};
  if (input_.strategy == Strategy::kBalancedLow0 && !order.empty()) {
    last.push_back(*std::ranges::min_element(order));
  }
  const auto uses_last = [&](const Placed& p) {
    const auto is_last = [&](DeviceKey d) { return std::ranges::find(last, d) != last.end(); };
    for (std::size_t i = 0; i < p.loose.size(); ++i) {
      const Piece& piece = loose_piece(i);
      if (!piece.rows_only && !piece.small && is_last(p.loose[i])) return true;
    }
    return std::ranges::any_of(p.layers, is_last);
  };
  const auto accelerators = std::ranges::count_if(order, &DeviceKey::is_accelerator);
  if (input_.strategy == Strategy::kSequential || accelerators < 2 || uses_last(placed)) {
    return placed;
  }
  double low = 0;
  double high = 1;
  for (int step = 0; step < kBalanceSteps; ++step) {
    choice.accelerator_share = (low + high) / 2;
    auto tried = place(choice);
    if (tried && !uses_last(*tried)) {
      placed = std::move(*tried);
      high = choice.accelerator_share;
    } else {
      low = choice.accelerator_share;
    }
  }
  return placed;
}

std::optional<FoundPlacement> PlacementSearch::Search::with_slots(int slots) const {
  std::optional<Placed> best;
  double best_score = std::numeric_limits<double>::infinity();
  Choice best_choice;
  const auto consider = [&](const Choice& choice, std::optional<Placed> placed) {
    if (!placed) return;
    double score = static_cast<double>(placed->streamed);
    if (!choice.pattern->whole()) score /= kWorthTheTrouble;
    if (streams_large_loose(choice)) score /= kWorthTheTrouble;
    if (score >= best_score) return;
    best_score = score;
    best_choice = choice;
    best = std::move(placed);
  };
  for (std::vector<bool>& loose : loose_choices()) {
    Choice choice{.loose_on_disk = std::move(loose),
                  .pattern = &patterns_.front(),
                  .layer_on_disk = std::vector<bool>(pieces_.layers.size(), false),
                  .slots = slots};
    if (auto all_layers_resident = place(choice)) {
      consider(choice, std::move(all_layers_resident));
      break;  // more on disk outside the layers only adds to this
    }
    for (const StreamPattern& pattern : patterns_) {
      choice.pattern = &pattern;
      auto placed = fewest_layers(choice);
      consider(choice, std::move(placed));
    }
  }
  std::optional<FoundPlacement> found;
  if (best) {
    refill(best_choice, *best);
    found = spell_out(best_choice, balanced(best_choice, *best));
  }
  // Where not even that fits; and without layers single modules are all there is.
  const bool by_leaf = !best || (best->streamed > 0 && pieces_.layers.empty());
  if (by_leaf && input_.smallest_stream_unit == StreamUnit::kLeafModule) {
    const auto leaf = place_by_leaf_modules(model_, pieces_, slots);
    if (leaf && (!best || leaf->streamed < best->streamed)) found = spell_out(*leaf);
  }
  return found;
}

FoundPlacement PlacementSearch::Search::spell_out(const Choice& choice,
                                                  const Placed& placed) const {
  LeafPlacement by_piece{.devices = std::vector(pieces_.pieces.size(), DeviceKey::disk()),
                         .slots = placed.slots};
  for (std::size_t i = 0; i < pieces_.loose.size(); ++i) {
    by_piece.devices[pieces_.loose[i]] = placed.loose[i];
  }
  for (std::size_t l = 0; l < pieces_.layers.size(); ++l) {
    for (const std::size_t p : pieces_.layers[l].pieces) {
      const auto& names = choice.pattern->names;
      const bool part = choice.layer_on_disk[l] &&
                        std::ranges::find(names, pieces_.pieces[p].name) != names.end();
      by_piece.devices[p] = part ? DeviceKey::disk() : placed.layers[l];
    }
  }
  FoundPlacement found = spell_out(by_piece);
  found.unit = StreamUnit::kLayer;
  return found;
}

FoundPlacement PlacementSearch::Search::spell_out(const LeafPlacement& placed) const {
  FoundPlacement found{.assignment = Assignment(input_.weights.size(), DeviceKey::disk()),
                       .unit = StreamUnit::kLeafModule,
                       .staging_slots = placed.slots};
  for (std::size_t p = 0; p < pieces_.pieces.size(); ++p) {
    for (const std::size_t w : pieces_.pieces[p].weights) found.assignment[w] = placed.devices[p];
  }
  // Second names of tied tensors go where the first is.
  for (std::size_t w = 0; w < found.assignment.size(); ++w) {
    if (model_.counts(w)) continue;
    const int first = model_.weight_of(model_.tree().find(input_.weights[w].path));
    found.assignment[w] = found.assignment[static_cast<std::size_t>(first)];
  }
  return found;
}

PlacementSearch::PlacementSearch(const CostModel& model)
    : search_(std::make_unique<const Search>(model)) {}

PlacementSearch::~PlacementSearch() = default;

std::optional<FoundPlacement> PlacementSearch::with_slots(int slots) const {
  return search_->with_slots(slots);
}

}  // namespace shoehorn
