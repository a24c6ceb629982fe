#include "plan/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/str_cat.h"
#include "plan/human_size.h"
#include "plan/plan_tree.h"
#include "plan/text_table.h"

namespace shoehorn {
namespace {

std::string rate_text(double tokens_per_s) {
  std::array<char, 32> text{};
  const char* format = tokens_per_s < 10 ? "%.2f" : tokens_per_s < 100 ? "%.1f" : "%.0f";
  std::snprintf(text.data(), text.size(), format, tokens_per_s);
  return text.data();
}

std::string size_or_dash(std::size_t bytes) {
  return bytes == 0 ? "-" : human_size(bytes);
}

// Eighths of a character cell where there are block characters.
std::string bar(double share, int width, bool unicode) {
  static constexpr std::array<const char*, 8> kEighths = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double cells = std::clamp(share, 0.0, 1.0) * width;
  auto full = static_cast<int>(cells);
  std::string text;
  if (!unicode) {
    full = static_cast<int>(std::lround(cells));
    text.assign(static_cast<std::size_t>(full), '#');
    text.append(static_cast<std::size_t>(width - full), '.');
    return "[" + text + "]";
  }
  for (int i = 0; i < full; ++i) text += "█";
  int used = full;
  const auto eighths = static_cast<std::size_t>((cells - full) * 8);
  if (full < width && eighths > 0) {
    text += kEighths[eighths];
    ++used;
  }
  for (int i = used; i < width; ++i) text += "░";
  return text;
}

std::string device_title(DeviceKey device) {
  return device.is_accelerator() ? "device " + to_string(device) : to_string(device);
}

// Devices in the order of a layer's tensors, the one of most bytes first: "cpu; mlp.up_proj on
// disk".
std::string signature_of(const PlanInput& input, const Plan& plan, const PlanTree& tree,
                         const std::vector<std::optional<DeviceKey>>& devices, std::size_t layer) {
  const NodeId id = tree.find(input.layer_paths[layer]);
  const auto device_at = [&](NodeId node) {
    return devices[static_cast<std::size_t>(node)].value_or(DeviceKey::disk());
  };
  const DeviceKey main = [&] {
    std::map<DeviceKey, double> elements;
    for (NodeId n = id; n < tree.node(id).end; ++n) elements[device_at(n)] += tree.node(n).elements;
    const auto most =
        std::ranges::max_element(elements, {}, [](const auto& e) { return e.second; });
    return most->first;
  }();
  std::string text = to_string(main);
  std::map<DeviceKey, std::string> others;
  const std::size_t prefix = tree.node(id).path.size() + 1;
  for (NodeId n = id + 1; n < tree.node(id).end;) {
    const PlanNode& node = tree.node(n);
    bool uniform = true;
    bool any = false;
    for (NodeId below = n; below < node.end; ++below) {
      if (tree.node(below).is_module()) continue;
      any = true;
      uniform = uniform && device_at(below) == device_at(n);
    }
    if (any && uniform && device_at(n) != main) {
      std::string& list = others[device_at(n)];
      list += (list.empty() ? "" : ", ") + node.path.substr(prefix);
    }
    n = uniform ? node.end : n + 1;
  }
  for (const auto& [device, list] : others) text += "; " + list + " on " + to_string(device);
  const DeviceKey runs_on = plan.layer_devices[layer];
  if (!main.is_disk() && runs_on != main) text += "; computed on " + to_string(runs_on);
  return text;
}

std::string layers_text(const std::string& first_path, const std::vector<int>& layers) {
  const std::size_t dot = first_path.rfind('.');
  const std::string prefix = dot == std::string::npos ? "" : first_path.substr(0, dot + 1);
  const std::string numbers = number_ranges(layers);
  if (layers.size() == 1) return prefix + numbers;
  // Interleaved layers make long lists that say little; --json has every one.
  if (numbers.size() > 48) {
    return str_cat(prefix, layers.front(), "-", layers.back(), ", ", layers.size(), " of these");
  }
  return str_cat(prefix, numbers, " (", layers.size(), " layers)");
}

void add_device_rows(const Plan& plan, TextTable& table) {
  for (const DeviceUse& use : plan.devices) {
    if (use.device.is_disk()) {
      if (use.weights > 0) table.add_row({"disk", human_size(use.weights)});
      continue;
    }
    if (use.limit_bytes == 0 && use.used() == 0) continue;
    table.add_row({device_title(use.device), size_or_dash(use.weights), size_or_dash(use.kv_cache),
                   size_or_dash(use.workspace), size_or_dash(use.staging),
                   size_or_dash(use.process + use.host_backed), size_or_dash(use.reserve),
                   human_size(use.used()), human_size(use.limit_bytes)});
  }
}

std::string bars_text(const Plan& plan, const TextStyle& style) {
  const int width = std::clamp(style.width - 44, 10, 50);
  std::string text;
  for (const DeviceUse& use : plan.devices) {
    if (use.device.is_disk() || use.limit_bytes == 0) continue;
    const double share = static_cast<double>(use.used()) /
                         static_cast<double>(std::max<std::size_t>(use.limit_bytes, 1));
    std::string title = device_title(use.device);
    title.resize(std::max<std::size_t>(title.size(), 10), ' ');
    text += str_cat(title, ' ', bar(share, width, style.unicode), ' ', std::lround(100 * share),
                    " % of ", human_size(use.limit_bytes), '\n');
  }
  return text;
}

}  // namespace

std::string number_ranges(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!text.empty()) text += ", ";
    text += std::to_string(numbers[i]);
    if (last > i) text += "-" + std::to_string(numbers[last]);
    i = last + 1;
  }
  return text;
}

std::vector<ReportLine> report_lines(const PlanInput& input, const Plan& plan) {
  const PlanTree tree(*input.tree);
  const auto devices = devices_of(plan.device_map, tree);
  const auto size = static_cast<std::size_t>(tree.size());
  std::vector<int> layer_at(size, -1);
  std::vector<bool> has_layer(size, false);  // at or below
  for (std::size_t layer = 0; layer < input.layer_paths.size(); ++layer) {
    NodeId id = tree.find(input.layer_paths[layer]);
    layer_at[static_cast<std::size_t>(id)] = static_cast<int>(layer);
    for (; id >= 0; id = tree.node(id).parent) has_layer[static_cast<std::size_t>(id)] = true;
  }
  std::map<std::string, std::vector<int>> layers_of;  // by signature
  std::vector<std::string> signatures;
  for (std::size_t layer = 0; layer < input.layer_paths.size(); ++layer) {
    signatures.push_back(signature_of(input, plan, tree, devices, layer));
    layers_of[signatures.back()].push_back(static_cast<int>(layer));
  }

  std::vector<ReportLine> lines;
  for (NodeId id = 0; id < tree.size();) {
    const auto i = static_cast<std::size_t>(id);
    const PlanNode& node = tree.node(id);
    if (layer_at[i] >= 0) {
      const auto layer = static_cast<std::size_t>(layer_at[i]);
      const std::vector<int>& alike = layers_of[signatures[layer]];
      if (alike.front() == layer_at[i]) {
        lines.push_back({layers_text(node.path, alike), signatures[layer]});
      }
      id = node.end;
      continue;
    }
    bool any = false;
    bool uniform = !has_layer[i];
    for (NodeId n = id; n < node.end && uniform; ++n) {
      if (tree.node(n).is_module()) continue;
      any = true;
      uniform = devices[static_cast<std::size_t>(n)] == devices[i];
    }
    if (uniform && any && devices[i]) {
      lines.push_back({node.path.empty() ? "the model" : node.path, to_string(*devices[i])});
    }
    id = uniform ? node.end : id + 1;
  }
  return lines;
}

std::string plan_text(const PlanInput& input, const Plan& plan, const TextStyle& style) {
  TextTable table({"device", "weights", "KV cache", "workspace", "staging", "process", "reserve",
                   "used", "limit"});
  add_device_rows(plan, table);
  std::string text = table.text(style.unicode) + "\n" + bars_text(plan, style) + "\n";

  std::size_t longest = 0;
  const std::vector<ReportLine> lines = report_lines(input, plan);
  for (const ReportLine& line : lines) {
    longest = std::max(longest, line.what.size());
  }
  for (const ReportLine& line : lines) {
    std::string what = line.what;
    what.resize(std::max(what.size(), longest), ' ');
    text += str_cat("  ", what, style.unicode ? " → " : " -> ", line.where, '\n');
  }
  text += "\n";
  const Prediction& p = plan.predicted;
  text += str_cat("predicted: ", rate_text(p.decode_tok_s), " tokens/s, bound by ", p.bound_by,
                  "; prompts of ", input.prefill_tokens, " tokens at ", rate_text(p.prefill_tok_s),
                  " tokens/s\n");
  if (plan.streamed_bytes_per_token > 0) {
    text += str_cat("read from disk for every token: ", human_size(plan.streamed_bytes_per_token),
                    '\n');
  }
  for (const std::string& note : plan.notes) text += str_cat("note: ", note, '\n');
  return text;
}

namespace {

using Json = nlohmann::ordered_json;

Json steps_json(const Plan& plan) {
  Json steps = Json::array();
  for (const PlanStep& step : plan.steps) {
    Json lives = Json::object();
    for (const auto& [device, forms] : step.bytes_on) {
      for (const auto& [form, bytes] : forms) lives[to_string(device)][form] = bytes;
    }
    steps.push_back({{"group", step.path},
                     {"lives", std::move(lives)},
                     {"runs_on", to_string(step.device)},
                     {"disk_bytes", step.disk_bytes},
                     {"memory_bytes", step.memory_bytes},
                     {"read_s", step.read_s},
                     {"compute_s", step.compute_s},
                     {"prefill_s", step.prefill_s}});
  }
  return steps;
}

}  // namespace

std::string plan_json(const Plan& plan) {
  Json json;
  json["device_map"] = Json::object();
  for (const auto& [path, device] : plan.device_map) {
    json["device_map"][path] =
        device.is_accelerator() ? Json(device.index) : Json(to_string(device));
  }
  json["bytes"] = Json::object();
  Json devices = Json::object();
  for (const DeviceUse& use : plan.devices) {
    const std::string name = to_string(use.device);
    json["bytes"][name] = use.weights;
    if (use.device.is_disk()) continue;
    devices[name] = {{"limit_bytes", use.limit_bytes}, {"used_bytes", use.used()},
                     {"weights", use.weights},         {"kv_cache", use.kv_cache},
                     {"workspace", use.workspace},     {"staging", use.staging},
                     {"process", use.process},         {"virtual_devices", use.host_backed},
                     {"reserve", use.reserve}};
  }
  json["footprint_bytes"] = plan.footprint_bytes;
  json["kv_cache_bytes"] = plan.kv_cache_bytes;
  json["workspace_bytes"] = plan.workspace_bytes;
  json["staging_bytes"] = plan.staging_bytes;
  json["streamed_bytes_per_token"] = plan.streamed_bytes_per_token;
  json["predicted"] = {{"prefill_tok_s", plan.predicted.prefill_tok_s},
                       {"decode_tok_s", plan.predicted.decode_tok_s},
                       {"bound_by", plan.predicted.bound_by}};
  json["predicted"]["pass_s"] = plan.predicted.pass_s;
  json["predicted"]["disk_s"] = plan.predicted.disk_s;
  json["predicted"]["busy_s"] = plan.predicted.busy_s;
  json["staging_slots"] = plan.staging_slots;
  json["steps"] = steps_json(plan);
  json["devices"] = std::move(devices);
  json["notes"] = plan.notes;
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace shoehorn
