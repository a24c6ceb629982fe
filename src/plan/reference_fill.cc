#include "plan/reference_fill.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/str_cat.h"
#include "plan/reference_error.h"

namespace shoehorn {
namespace {

// Modules and tensors still to be placed, front first.
using Queue = std::vector<NodeId>;

/// What must come along with a module because it shares tensors with it.
struct Partners {
  std::vector<NodeId> nodes;  // entries of the queue, one per tied tensor, repeats kept
  PyNumber full;              // bytes of the module and its partners as the library counts them
  bool any_tied = false;
};

class Filler {
 public:
  Filler(const PlanTree& tree, const ModuleSizes& sizes, const Budget& budget,
         const ClassNames& no_split, const FillRules& rules);

  FillResult run();

 private:
  enum class Step { kPlaced, kReordered, kNextDevice };

  Step treat(NodeId item);
  bool place(NodeId item, const Partners& partners, std::optional<double> cap);
  bool split_partner(NodeId item, const Partners& partners, std::optional<double> cap);
  bool split(NodeId item, std::optional<double> cap);
  bool fall_back(NodeId item, PyNumber full);
  void finish_warnings();

  std::optional<NodeId> find_fallback(double limit) const;
  void open_ancestors(NodeId found);

  DeviceKey device() const { return devices_[current_]; }
  PyNumber& used() { return used_[device()]; }
  bool can_split(NodeId id) const;
  std::vector<NodeId> parts_of(NodeId module) const;
  void refresh_largest();
  Partners partners_of(NodeId item, const Queue& queue) const;
  std::vector<NodeId> tied_outside(NodeId item) const;

  const PlanTree& tree_;
  const ModuleSizes& sizes_;
  const Budget& budget_;
  const ClassNames& no_split_;
  const FillRules& rules_;

  std::vector<std::vector<std::pair<NodeId, std::string>>> groups_;  // tied names with a final dot
  std::vector<DeviceKey> devices_;
  std::set<DeviceKey> main_devices_;  // keep room for the largest layer still to come
  std::size_t current_ = 0;
  Queue queue_;
  LargestLayer largest_;
  std::map<DeviceKey, PyNumber> used_;
  std::map<DeviceKey, double> buffer_bytes_;
  std::map<DeviceKey, double> needed_;
  FillResult result_;
};

// Ties as each library sees them: groups of names, sorted as text.
std::vector<std::vector<NodeId>> tied_names(const PlanTree& tree, Flavour flavour) {
  if (flavour == Flavour::kAccelerate) return tree.tied_groups();
  // transformers keeps a map alias → owner and makes a group for each owner.
  std::map<std::string, std::string> owner_of;
  for (const Tie& tie : tree.module_tree().ties) owner_of[tie.alias] = tie.owner;
  std::map<NodeId, std::vector<NodeId>> by_owner;
  for (const auto& [alias, owner] : owner_of) {
    by_owner[tree.find(owner)].push_back(tree.find(alias));
  }
  std::vector<std::vector<NodeId>> groups;
  for (auto& [owner, group] : by_owner) {
    group.push_back(owner);
    groups.push_back(std::move(group));
  }
  std::ranges::sort(groups, {}, [](const auto& group) { return std::ranges::min(group); });
  return groups;
}

Filler::Filler(const PlanTree& tree, const ModuleSizes& sizes, const Budget& budget,
               const ClassNames& no_split, const FillRules& rules)
    : tree_(tree), sizes_(sizes), budget_(budget), no_split_(no_split), rules_(rules) {
  for (const auto& members : tied_names(tree, rules.flavour)) {
    auto& group = groups_.emplace_back();
    for (const NodeId id : members) group.emplace_back(id, tree.node(id).path + ".");
    std::ranges::sort(group, {}, [&tree](const auto& m) { return tree.node(m.first).path; });
  }
  for (const auto& [device, bytes] : budget) devices_.push_back(device);
  if (!budget.contains(DeviceKey::disk())) devices_.push_back(DeviceKey::disk());
  main_devices_ = {DeviceKey::cpu()};
  if (budget.contains(DeviceKey::mps())) {
    main_devices_ = {DeviceKey::mps()};
  } else if (devices_.front().is_accelerator()) {
    main_devices_.insert(devices_.front());
  }
  queue_ = parts_of(0);
  queue_.insert(queue_.end(), tree.node(0).buffers.begin(), tree.node(0).buffers.end());
  // Tensors of the root count as layers this once; every later look is at modules only.
  largest_ = find_largest_layer(tree, queue_, sizes, no_split);
}

bool Filler::can_split(NodeId id) const {
  const PlanNode& node = tree_.node(id);
  return !node.children.empty() && !no_split_.contains(node.class_name);
}

// Direct parameters, then children. Direct buffers are no parts: the libraries lose them here.
std::vector<NodeId> Filler::parts_of(NodeId module) const {
  const PlanNode& node = tree_.node(module);
  std::vector<NodeId> parts;
  std::set<NodeId> seen;
  for (const NodeId parameter : node.parameters) {
    const bool again = !seen.insert(tree_.node(parameter).storage).second;
    if (!again || rules_.flavour == Flavour::kTransformers) parts.push_back(parameter);
  }
  parts.insert(parts.end(), node.children.begin(), node.children.end());
  return parts;
}

void Filler::refresh_largest() {
  std::vector<NodeId> modules;
  std::ranges::copy_if(queue_, std::back_inserter(modules),
                       [this](NodeId id) { return tree_.node(id).is_module(); });
  largest_ = find_largest_layer(tree_, modules, sizes_, no_split_);
}

// Names tied to something inside `item` but lying outside it. "Inside" is the libraries' own test:
// the text "item." occurs anywhere in the name, so "head." is found inside "lm_head.weight.".
std::vector<NodeId> Filler::tied_outside(NodeId item) const {
  std::vector<NodeId> tied;
  if (groups_.empty()) return tied;
  const std::string text = tree_.node(item).path + ".";
  for (const auto& group : groups_) {
    std::vector<NodeId> outside;
    for (const auto& [id, name] : group) {
      if (name.find(text) == std::string::npos) outside.push_back(id);
    }
    if (outside.size() < group.size()) tied.insert(tied.end(), outside.begin(), outside.end());
  }
  return tied;
}

Partners Filler::partners_of(NodeId item, const Queue& queue) const {
  Partners partners;
  partners.full = sizes_.at(item);
  for (const NodeId tied : tied_outside(item)) {
    partners.any_tied = true;
    const auto partner = std::ranges::find_if(
        queue, [&](NodeId id) { return id != tied && tree_.contains(id, tied); });
    if (partner == queue.end()) {
      throw ReferenceCrash(
          "IndexError",
          str_cat("\"", tree_.node(tied).path, "\" is tied to \"", tree_.node(item).path,
                  "\" but is in no module that is still to be placed"));
    }
    const bool repeated = std::ranges::find(partners.nodes, *partner) != partners.nodes.end();
    if (rules_.flavour == Flavour::kAccelerate) {
      // Charged per tied tensor: the other bytes of a partner with two of them count twice.
      partners.full = partners.full + (sizes_.at(*partner) - sizes_.at(tied));
    } else if (!repeated) {
      partners.full += sizes_.at(*partner);
    }
    partners.nodes.push_back(*partner);
  }
  return partners;
}

// (A) The module and its partners fit.
bool Filler::place(NodeId item, const Partners& partners, std::optional<double> cap) {
  if (cap && used().value + partners.full.value > *cap) return false;
  used() += partners.full;
  result_.placements.push_back({item, device()});
  for (const NodeId partner : partners.nodes) {
    const auto queued = std::ranges::find(queue_, partner);
    if (queued == queue_.end()) continue;  // it came with an earlier tensor of the same partner
    queue_.erase(queued);
    result_.placements.push_back({partner, device()});
  }
  if (tree_.node(item).is_module() && !rules_.offload_buffers) {
    buffer_bytes_[device()] += sizes_.buffer_bytes(item).value;
  }
  return true;
}

// (B) The module alone fits: the first partner that can be opened may be smaller in parts.
bool Filler::split_partner(NodeId item, const Partners& partners, std::optional<double> cap) {
  if (!partners.any_tied || !cap || used().value + sizes_.at(item).value > *cap) return false;
  for (const NodeId partner : partners.nodes) {
    if (!can_split(partner)) continue;
    const auto at = queue_.erase(std::ranges::find(queue_, partner));
    const std::vector<NodeId> parts = parts_of(partner);
    queue_.insert(at, parts.begin(), parts.end());
    queue_.insert(queue_.begin(), item);
    refresh_largest();
    return true;
  }
  return false;
}

// (C) accelerate opens a module only if it alone reaches the room there is; one that is smaller but
// has partners too large is carried to the next device whole.
bool Filler::split(NodeId item, std::optional<double> cap) {
  const bool too_large = cap && used().value + sizes_.at(item).value >= *cap;
  if (!can_split(item) || (rules_.flavour == Flavour::kAccelerate && !too_large)) return false;
  const std::vector<NodeId> parts = parts_of(item);
  queue_.insert(queue_.begin(), parts.begin(), parts.end());
  refresh_largest();
  return true;
}

// Depth-first through what is left for something that fits an empty device beside the reserve.
std::optional<NodeId> Filler::find_fallback(double limit) const {
  Queue search = queue_;
  while (!search.empty()) {
    const NodeId candidate = search.front();
    search.erase(search.begin());
    if (partners_of(candidate, search).full.value <= limit) return candidate;
    if (!can_split(candidate)) continue;
    const std::vector<NodeId> parts = parts_of(candidate);
    search.insert(search.begin(), parts.begin(), parts.end());
  }
  return std::nullopt;
}

void Filler::open_ancestors(NodeId found) {
  for (auto entry = queue_.begin(); entry != queue_.end();) {
    if (*entry == found || !tree_.contains(*entry, found)) {
      ++entry;
      continue;
    }
    const std::vector<NodeId> parts = parts_of(*entry);
    entry = queue_.erase(entry);
    entry = queue_.insert(entry, parts.begin(), parts.end());
  }
}

// (D) accelerate's fallback allocation: something smaller may go first on a device that is empty.
bool Filler::fall_back(NodeId item, PyNumber full) {
  if (!rules_.fallback_allocation || used().value != 0 || device().is_disk()) return false;
  const PyNumber larger = full.value > largest_.bytes.value ? full : largest_.bytes;
  const PyNumber limit = budget_.at(device()) - larger - used();
  if (limit.is_float) {
    throw ReferenceCrash("AttributeError",
                         "fallback_allocation with a size or a budget that is a "
                         "fraction of a byte");
  }
  if (limit.value < 0) return false;
  const auto found = find_fallback(limit.value);
  if (!found) return false;
  open_ancestors(*found);
  queue_.erase(std::ranges::find(queue_, *found));
  queue_.insert(queue_.begin(), {*found, item});
  return true;
}

Filler::Step Filler::treat(NodeId item) {
  const auto below = largest_.layers.lower_bound(item);
  largest_.layers.erase(below, largest_.layers.lower_bound(tree_.node(item).end));
  if (largest_.layers.empty()) refresh_largest();

  const Partners partners = partners_of(item, queue_);
  PyNumber reserve;
  std::optional<double> cap;
  if (!device().is_disk()) {
    if (main_devices_.contains(device())) reserve = largest_.bytes;
    cap = budget_.at(device()).value - reserve.value;
  }
  if (place(item, partners, cap)) return Step::kPlaced;
  if (split_partner(item, partners, cap)) return Step::kReordered;
  if (split(item, cap)) return Step::kReordered;
  if (fall_back(item, partners.full)) return Step::kReordered;

  if (used().value == 0) needed_[device()] = partners.full.value + reserve.value;
  used() += reserve;
  queue_.insert(queue_.begin(), item);
  return Step::kNextDevice;
}

FillResult Filler::run() {
  while (!queue_.empty()) {
    const NodeId item = queue_.front();
    queue_.erase(queue_.begin());
    const std::string& path = tree_.node(item).path;
    switch (treat(item)) {
      case Step::kPlaced:
        result_.decisions.push_back(
            str_cat(path, " (", sizes_.at(item).value, " bytes) → ", to_string(device())));
        break;
      case Step::kReordered: break;
      case Step::kNextDevice:
        result_.decisions.push_back(str_cat(path, " (", sizes_.at(item).value,
                                            " bytes) does not fit ", to_string(device()),
                                            " any more: on to the next device"));
        ++current_;
        break;
    }
  }
  finish_warnings();
  return std::move(result_);
}

void Filler::finish_warnings() {
  for (const auto& [device, bytes] : needed_) {
    const bool received = std::ranges::any_of(
        result_.placements, [device = device](const Placement& p) { return p.device == device; });
    if (!received) result_.unused_devices.emplace_back(device, bytes);
  }
  const double offloaded = buffer_bytes_[DeviceKey::cpu()] + buffer_bytes_[DeviceKey::disk()];
  result_.offloaded_buffer_bytes = offloaded;
  if (offloaded <= 0) return;
  bool any_gpu = false;
  bool fits = false;
  for (const auto& [device, bytes] : budget_) {
    if (device.is_cpu() || device.is_disk()) continue;
    any_gpu = true;
    fits = fits || bytes.value >= offloaded + used_[device].value;
  }
  result_.warn_buffers = any_gpu && !fits;
}

}  // namespace

FillResult fill_devices(const PlanTree& tree, const ModuleSizes& sizes, const Budget& budget,
                        const ClassNames& no_split, const FillRules& rules) {
  return Filler(tree, sizes, budget, no_split, rules).run();
}

}  // namespace shoehorn
