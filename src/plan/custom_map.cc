#include "plan/custom_map.h"

#include <algorithm>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/reference_plan.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMaxListed = 12;  // problems of one kind that are spelled out

std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t bound) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() >= bound) return bound;
  std::vector<std::size_t> row(a.size() + 1);
  for (std::size_t i = 0; i <= a.size(); ++i) row[i] = i;
  for (std::size_t j = 0; j < b.size(); ++j) {
    std::size_t diagonal = row[0];
    row[0] = j + 1;
    std::size_t best = row[0];
    for (std::size_t i = 0; i < a.size(); ++i) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[i + 1];
      row[i + 1] = std::min({row[i] + 1, row[i + 1] + 1, replaced});
      best = std::min(best, row[i + 1]);
    }
    if (best >= bound) return bound;
  }
  return row[a.size()];
}

/// Problems of one kind, of which only the first are kept.
class ProblemList {
 public:
  void add(std::string problem) {
    if (++count_ <= kMaxListed) problems_.push_back(std::move(problem));
  }
  void write_to(std::string& text) const {
    for (const std::string& problem : problems_) text += "\n  " + problem;
    if (count_ > kMaxListed)
      text += str_cat("\n  ... and ", count_ - kMaxListed, " more like these");
  }
  bool empty() const { return count_ == 0; }

 private:
  std::vector<std::string> problems_;
  std::size_t count_ = 0;
};

std::string text_of(const std::variant<long long, std::string>& device) {
  if (const auto* number = std::get_if<long long>(&device)) return std::to_string(*number);
  return std::get<std::string>(device);
}

std::string available_devices(const MapRules& rules) {
  const int n = rules.accelerators.total();
  std::string text = "there is no accelerator (`shoehorn doctor` says why): write ";
  if (n == 1) text = "write 0, ";
  if (n > 1) text = str_cat("write 0 to ", n - 1, ", ");
  return text + "\"cpu\" or \"disk\"";
}

std::optional<DeviceKey> device_or_problem(const std::string& path, const std::string& written,
                                           const MapRules& rules, ProblemList& problems) {
  const auto device = parse_device(written, rules.accelerators);
  if (!device || *device == DeviceKey::mps()) {
    std::string lower = written.substr(0, 40);
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    std::string hint = available_devices(rules);
    if (lower != written && parse_device(lower, rules.accelerators)) {
      hint = str_cat("write \"", lower, '"');
    }
    problems.add(str_cat('"', path, "\": \"", written.substr(0, 40), "\" is not a device; ", hint));
    return std::nullopt;
  }
  const bool there = !device->is_accelerator() || rules.any_accelerator ||
                     device->index < rules.accelerators.total();
  if (!there) {
    problems.add(str_cat('"', path, "\": device ", written.substr(0, 40), " does not exist; ",
                         available_devices(rules)));
    return std::nullopt;
  }
  return device;
}

// The largest modules of which nothing is covered: what a user would add.
void list_uncovered(const DeviceMap& map, const PlanTree& tree, ProblemList& problems) {
  const std::vector<std::string> uncovered = check_device_map(map, tree).uncovered;
  if (uncovered.empty()) return;
  const auto size = static_cast<std::size_t>(tree.size());
  std::vector<int> tensors(size, 0);
  std::vector<int> open(size, 0);
  const std::set<std::string_view> open_paths(uncovered.begin(), uncovered.end());
  for (NodeId id = tree.size() - 1; id > 0; --id) {
    const PlanNode& node = tree.node(id);
    const auto i = static_cast<std::size_t>(id);
    if (!node.is_module() && node.persistent) {
      tensors[i] = 1;
      open[i] = open_paths.contains(node.path) ? 1 : 0;
    }
    tensors[static_cast<std::size_t>(node.parent)] += tensors[i];
    open[static_cast<std::size_t>(node.parent)] += open[i];
  }
  for (NodeId id = 0; id < tree.size();) {
    const auto i = static_cast<std::size_t>(id);
    if (tensors[i] == 0 || open[i] == 0) {
      id = tree.node(id).end;
    } else if (open[i] == tensors[i]) {
      const PlanNode& node = tree.node(id);
      const std::string example = node.path.substr(0, 80);
      problems.add(str_cat("nothing covers ", example.empty() ? "the model" : example,
                           node.is_module() ? str_cat(" (", open[i], " tensors)") : std::string(),
                           ": add \"", example, "\": \"cpu\" or the device you want"));
      id = node.end;
    } else {
      ++id;
    }
  }
}

}  // namespace

WrittenMap parse_device_map_json(std::string_view json_text) {
  using Json = nlohmann::ordered_json;
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  std::string repeated;
  const auto watch_keys = [&](int depth, Json::parse_event_t event, Json& parsed) {
    const auto d = static_cast<std::size_t>(depth);
    if (event == Json::parse_event_t::object_start) {
      keys.resize(d + 1);
      keys[d].clear();
    }
    if (event == Json::parse_event_t::key && d >= 1 && d <= keys.size() &&
        !keys[d - 1].insert(parsed.get<std::string>()).second) {
      repeated = parsed.get<std::string>();
    }
    return true;
  };
  Json json;
  try {
    json = Json::parse(json_text, watch_keys);
  } catch (const Json::exception& error) {
    throw FormatError(str_cat("device_map: not JSON: ", error.what()));
  }
  if (!repeated.empty()) {
    throw FormatError(
        str_cat("device_map: the key \"", repeated.substr(0, 80), "\" is there twice"));
  }
  if (json.is_object() && json.contains("device_map")) json = Json(json["device_map"]);
  if (!json.is_object()) {
    throw FormatError(
        "device_map: expected an object such as {\"model.layers\": 0, \"lm_head\": "
        "\"cpu\"}");
  }
  WrittenMap written;
  for (const auto& [path, device] : json.items()) {
    if (device.is_number_integer()) {
      written.emplace_back(path, device.get<long long>());
    } else if (device.is_string()) {
      written.emplace_back(path, device.get<std::string>());
    } else {
      throw FormatError(str_cat("device_map: \"", path.substr(0, 80),
                                "\": expected a number or a device name, found ",
                                device.type_name()));
    }
  }
  return written;
}

std::string nearest_path(const PlanTree& tree, std::string_view path) {
  // Another prefix, or one too few or too many: "layers.3" for "model.layers.3".
  for (NodeId id = 1; id < tree.size(); ++id) {
    const std::string_view candidate = tree.node(id).path;
    const auto ends_with_part = [](std::string_view longer, std::string_view shorter) {
      return longer.size() > shorter.size() && longer.ends_with(shorter) &&
             longer[longer.size() - shorter.size() - 1] == '.';
    };
    if (ends_with_part(candidate, path) || ends_with_part(path, candidate)) {
      return std::string(candidate);
    }
  }
  std::size_t best = std::max<std::size_t>(path.size() / 3, 2) + 1;
  std::string nearest;
  for (NodeId id = 1; id < tree.size(); ++id) {
    const std::size_t distance = edit_distance(path.substr(0, 200), tree.node(id).path, best);
    if (distance < best) {
      best = distance;
      nearest = tree.node(id).path;
    }
  }
  return nearest;
}

DeviceMap check_written_map(const WrittenMap& written, const PlanTree& tree,
                            const MapRules& rules) {
  ProblemList names;
  ProblemList devices;
  DeviceMap map;
  for (const auto& [path, device_text] : written) {
    const auto device = device_or_problem(path, text_of(device_text), rules, devices);
    if (tree.find(path) < 0) {
      const std::string nearest =
          names.empty() || path.size() < 200 ? nearest_path(tree, path) : "";
      names.add(str_cat('"', path.substr(0, 80), "\" is no module of this model",
                        nearest.empty() ? "" : str_cat("; did you mean \"", nearest, "\"?")));
    }
    // A wrong device still covers: one mistake, one message.
    map.set(path, device.value_or(DeviceKey::cpu()));
  }
  ProblemList uncovered;
  list_uncovered(map, tree, uncovered);
  ProblemList ties;
  if (devices.empty() && uncovered.empty()) {
    const auto placed = devices_of(map, tree);
    for (const auto& group : tree.tied_groups()) {
      const DeviceKey first = *placed[static_cast<std::size_t>(group.front())];
      for (const NodeId id : group) {
        const DeviceKey other = *placed[static_cast<std::size_t>(id)];
        if (other == first) continue;
        ties.add(str_cat(tree.node(id).path, " (", to_string(other), ") and ",
                         tree.node(group.front()).path, " (", to_string(first),
                         ") are one tensor: write ", to_string(first), " for both, or ",
                         to_string(other), " for both"));
      }
    }
  }
  std::string text;
  for (const ProblemList* list : {&names, &devices, &uncovered, &ties}) list->write_to(text);
  if (!text.empty()) throw ArgumentError("device_map:" + text);
  return map;
}

}  // namespace shoehorn
