#include "plan/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <utility>

#include "base/str_cat.h"
#include "plan/cost_model.h"
#include "plan/human_size.h"
#include "plan/report.h"
#include "plan/svg_canvas.h"

namespace shoehorn {
namespace {

constexpr double kMargin = 28;
constexpr double kColumnTop = 96;
constexpr double kColumnHeight = 380;
constexpr double kColumnWidth = 132;
constexpr double kColumnGap = 34;
constexpr double kBandHeight = 34;
constexpr double kLegendWidth = 190;

// Okabe and Ito's colours, told apart by colour-blind readers too.
constexpr std::array<const char*, 5> kAcceleratorColours = {"#0072B2", "#56B4E9", "#009E73",
                                                            "#8C6BB1", "#41AB5D"};
constexpr const char* kCpuColour = "#E69F00";
constexpr const char* kDiskColour = "#9AA3AB";
constexpr const char* kKvColour = "#CC79A7";
constexpr const char* kWorkspaceColour = "#F0E442";
constexpr const char* kStagingColour = "#D55E00";
constexpr const char* kProcessColour = "#6B7178";
constexpr const char* kVirtualColour = "#BFD3E6";
constexpr const char* kLimitColour = "#B00020";
constexpr const char* kReserve = "url(#reserve)";

std::string colour_of(DeviceKey device) {
  if (device.is_cpu()) return kCpuColour;
  if (!device.is_accelerator()) return kDiskColour;
  const auto i = static_cast<std::size_t>(std::max(device.index, 0));
  return kAcceleratorColours[i % kAcceleratorColours.size()];
}

/// A cell of a column: a module, or a kind of memory.
struct Cell {
  std::string label;
  std::string tooltip;
  std::string fill;
  double bytes = 0;
  int layer = -1;
};

/// One module in order of execution: its bytes on each device.
struct Step {
  std::string name;
  int layer = -1;
  std::map<DeviceKey, std::size_t> bytes;
};

std::vector<Step> steps_of(const PlanInput& input, const Plan& plan) {
  const CostModel model(input);
  const auto devices = devices_of(plan.device_map, model.tree());
  std::vector<Step> steps;
  std::map<std::pair<bool, int>, std::size_t> at;
  for (std::size_t w = 0; w < input.weights.size(); ++w) {
    if (!model.counts(w)) continue;
    const int layer = model.layer_of(w);
    const std::pair key(layer >= 0, layer >= 0 ? layer : model.module_of(w));
    const auto [entry, is_new] = at.emplace(key, steps.size());
    if (is_new) {
      const std::string& path = model.tree().node(model.module_of(w)).path;
      const std::size_t dot = path.rfind('.');
      steps.push_back({.name = layer >= 0 ? std::to_string(layer)
                                          : path.substr(dot == std::string::npos ? 0 : dot + 1),
                       .layer = layer,
                       .bytes = {}});
    }
    const NodeId node = model.tree().find(input.weights[w].path);
    const DeviceKey device = devices[static_cast<std::size_t>(node)].value_or(DeviceKey::disk());
    steps[entry->second].bytes[device] += input.weights[w].bytes_on(device);
  }
  return steps;
}

using Rgb = std::array<unsigned, 3>;

// Of "#0072B2"; white for what is no such text.
Rgb rgb_of(const std::string& colour) {
  Rgb rgb{};
  const char* format = "#%2x%2x%2x";
  const bool read = std::sscanf(colour.c_str(), format, &rgb[0], &rgb[1], &rgb[2]) == 3;
  return read ? rgb : Rgb{255, 255, 255};
}

bool is_dark(const std::string& colour) {
  const Rgb rgb = rgb_of(colour);
  return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] < 125;  // luma of BT.601
}

// Neighbouring cells differ a little, so that each can be seen.
std::string shaded(const std::string& colour, bool lighter) {
  if (!lighter) return colour;
  Rgb rgb = rgb_of(colour);
  for (unsigned& c : rgb) c += (255 - c) * 3 / 10;
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "#%02X%02X%02X", rgb[0] & 255, rgb[1] & 255,
                rgb[2] & 255);
  return text.data();
}

// For the narrow cells of the band: what everybody calls the two ends of a model.
std::string short_name(const Step& step, double width) {
  if (step.layer >= 0) return step.name;
  for (const char* part : {"embed", "head", "norm"}) {
    if (step.name.find(part) != std::string::npos) return width >= 6 ? part : "";
  }
  return 6.2 * static_cast<double>(step.name.size()) <= width + 8 ? step.name : "";
}

std::vector<Cell> cells_of(const DeviceUse& use, const std::vector<Step>& steps) {
  std::vector<Cell> cells;
  const auto add_kind = [&cells](const char* label, const char* fill, std::size_t bytes) {
    if (bytes == 0) return;
    cells.push_back({.label = label,
                     .tooltip = str_cat(label, ": ", human_size(bytes)),
                     .fill = fill,
                     .bytes = static_cast<double>(bytes)});
  };
  add_kind("process", kProcessColour, use.process);
  add_kind("workspace", kWorkspaceColour, use.workspace);
  add_kind("staging", kStagingColour, use.staging);
  add_kind("KV cache", kKvColour, use.kv_cache);
  add_kind("virtual devices", kVirtualColour, use.host_backed);
  for (const Step& step : steps) {
    const auto found = step.bytes.find(use.device);
    if (found == step.bytes.end() || found->second == 0) continue;
    cells.push_back(
        {.label = step.name,
         .tooltip = str_cat(step.layer >= 0 ? "layer " : "", step.name, ": ",
                            human_size(found->second), step.bytes.size() > 1 ? " of it" : ""),
         .fill = shaded(colour_of(use.device), step.layer % 2 == 0),
         .bytes = static_cast<double>(found->second),
         .layer = step.layer});
  }
  return cells;
}

class Picture {
 public:
  Picture(const PlanInput& input, const Plan& plan, const std::string& title);
  std::string draw();

 private:
  void draw_heading();
  void draw_column(double x, const DeviceUse& use);
  void draw_run_labels(double x, const std::vector<std::pair<double, Cell>>& drawn);
  void draw_legend(double x);
  void draw_band();
  double height_of(double bytes) const { return bytes / scale_bytes_ * kColumnHeight; }

  const Plan& plan_;
  std::string title_;
  std::vector<Step> steps_;
  std::vector<DeviceUse> shown_;
  double scale_bytes_ = 1;  // what the full height of a column stands for
  double width_;
  double height_;
  SvgCanvas canvas_;
};

std::vector<DeviceUse> shown_devices(const Plan& plan, const std::vector<Step>& steps) {
  std::vector<DeviceUse> shown;
  for (DeviceUse use : plan.devices) {
    // Columns compare what modules take in memory, also on disk.
    if (use.device.is_disk()) {
      use.weights = 0;
      for (const Step& step : steps) {
        const auto found = step.bytes.find(use.device);
        if (found != step.bytes.end()) use.weights += found->second;
      }
    }
    if (use.used() > 0 || use.limit_bytes > 0) shown.push_back(use);
  }
  return shown;
}

double picture_width(std::size_t columns) {
  const double content = static_cast<double>(columns) * (kColumnWidth + kColumnGap) + kLegendWidth;
  return std::max(2 * kMargin + content, 620.0);
}

Picture::Picture(const PlanInput& input, const Plan& plan, const std::string& title)
    : plan_(plan),
      title_(title),
      steps_(steps_of(input, plan)),
      shown_(shown_devices(plan, steps_)),
      width_(picture_width(shown_.size())),
      height_(kColumnTop + kColumnHeight + 150),
      canvas_(width_, height_) {
  double largest_use = 1;
  double largest_limit = 1;
  for (const DeviceUse& use : shown_) {
    largest_use = std::max(largest_use, static_cast<double>(use.total()));
    largest_limit = std::max(largest_limit, static_cast<double>(use.limit_bytes));
  }
  // Limits far above everything used would flatten the picture: those columns are cut off.
  scale_bytes_ = std::max(largest_use, std::min(largest_limit, largest_use * 1.5));
}

std::string Picture::draw() {
  canvas_.hatching("reserve", "#F2F2F2", "#CFCFCF");
  draw_heading();
  double x = kMargin;
  for (const DeviceUse& use : shown_) {
    draw_column(x, use);
    x += kColumnWidth + kColumnGap;
  }
  draw_legend(x + 10);
  draw_band();
  return canvas_.finish();
}

void Picture::draw_heading() {
  canvas_.text(kMargin, 34, title_, {.size = 19, .bold = true});
  std::array<char, 64> rate{};
  std::snprintf(rate.data(), rate.size(), "%.3g", plan_.predicted.decode_tok_s);
  std::string line =
      str_cat("predicted ", rate.data(), " tokens/s, bound by ", plan_.predicted.bound_by);
  if (plan_.streamed_bytes_per_token > 0) {
    line += str_cat("; ", human_size(plan_.streamed_bytes_per_token),
                    " read from disk for every token");
  }
  canvas_.text(kMargin, 55, line, {.size = 12.5, .fill = "#555"});
}

void Picture::draw_column(double x, const DeviceUse& use) {
  const double bottom = kColumnTop + kColumnHeight;
  const std::string name =
      use.device.is_accelerator() ? "device " + to_string(use.device) : to_string(use.device);
  canvas_.text(x + kColumnWidth / 2, kColumnTop - 12, name,
               {.size = 14, .anchor = "middle", .bold = true});
  double y = bottom;
  std::vector<std::pair<double, Cell>> drawn;  // top of each
  for (Cell& cell : cells_of(use, steps_)) {
    const double height = height_of(cell.bytes);
    y -= height;
    canvas_.rectangle(x, y, kColumnWidth, height, cell.fill, height > 2.5 ? "white" : "none",
                      cell.tooltip);
    drawn.emplace_back(y, std::move(cell));
  }
  if (use.reserve > 0) {
    const double height = height_of(static_cast<double>(use.reserve));
    y -= height;
    canvas_.rectangle(x, y, kColumnWidth, height, kReserve, "none",
                      str_cat("reserve: ", human_size(use.reserve)));
  }
  draw_run_labels(x, drawn);
  canvas_.line(x, bottom, x + kColumnWidth, bottom, "#222");
  std::string below = human_size(use.device.is_disk() ? use.weights : use.used());
  if (!use.device.is_disk()) {
    const double limit = static_cast<double>(use.limit_bytes);
    const bool cut = limit > scale_bytes_ * 1.0001;
    const double top = cut ? kColumnTop : bottom - height_of(limit);
    canvas_.line(x, bottom, x, top, "#222");
    canvas_.line(x + kColumnWidth, bottom, x + kColumnWidth, top, "#222");
    if (cut) {
      canvas_.text(x + kColumnWidth / 2, top + 14, str_cat("limit ", human_size(use.limit_bytes)),
                   {.size = 11, .anchor = "middle", .fill = kLimitColour});
    } else {
      canvas_.line(x - 5, top, x + kColumnWidth + 5, top, kLimitColour, true);
    }
    below += str_cat(" of ", human_size(use.limit_bytes));
  }
  canvas_.text(x + kColumnWidth / 2, bottom + 19, below, {.size = 12, .anchor = "middle"});
}

// Cells tall enough carry their own label; of runs of thinner ones the whole run is labelled.
void Picture::draw_run_labels(double x, const std::vector<std::pair<double, Cell>>& drawn) {
  const auto label = [&](double top, double height, const std::string& words,
                         const std::string& fill) {
    canvas_.text(x + kColumnWidth / 2, top + height / 2 + 3.6, words,
                 {.size = std::clamp(height - 2, 8.0, 11.0),
                  .anchor = "middle",
                  .fill = is_dark(fill) ? "white" : "#111"});
  };
  for (std::size_t i = 0; i < drawn.size();) {
    const Cell& cell = drawn[i].second;
    const double height = height_of(cell.bytes);
    if (cell.layer < 0 || height >= 11) {
      if (height >= 10) label(drawn[i].first, height, cell.label, cell.fill);
      ++i;
      continue;
    }
    std::vector<int> layers;
    std::size_t last = i;
    while (last < drawn.size() && drawn[last].second.layer >= 0) {
      layers.push_back(drawn[last].second.layer);
      ++last;
    }
    const double top = drawn[last - 1].first;
    const double run = drawn[i].first + height - top;
    std::string words = number_ranges(layers);
    if (words.size() > 18)
      words = str_cat(layers.size(), " of ", layers.front(), "-", layers.back());
    if (run >= 11) {
      const double w = 8.0 + 6.4 * static_cast<double>(words.size());
      canvas_.rectangle(x + kColumnWidth / 2 - w / 2, top + run / 2 - 7.5, w, 15, "white");
      label(top + run / 2 - 6.5, 13, words, "white");
    }
    i = last;
  }
}

void Picture::draw_legend(double x) {
  double y = kColumnTop + 4;
  const auto entry = [&](const std::string& fill, const std::string& words) {
    canvas_.rectangle(x, y, 15, 13, fill, "#888");
    canvas_.text(x + 23, y + 11, words);
    y += 21;
  };
  for (const DeviceUse& use : shown_) {
    const std::string name = to_string(use.device);
    entry(colour_of(use.device), use.device.is_disk()  ? "weights read from disk"
                                 : use.device.is_cpu() ? "weights in memory (cpu)"
                                                       : "weights on device " + name);
  }
  y += 8;
  const auto total_of = [this](std::size_t DeviceUse::*member) {
    std::size_t sum = 0;
    for (const DeviceUse& use : shown_) sum += use.*member;
    return sum;
  };
  const auto kind = [&](const char* fill, const char* words, std::size_t bytes) {
    if (bytes > 0) entry(fill, str_cat(words, ", ", human_size(bytes)));
  };
  kind(kKvColour, "KV cache", total_of(&DeviceUse::kv_cache));
  kind(kStagingColour, "staging", total_of(&DeviceUse::staging));
  kind(kWorkspaceColour, "workspace", total_of(&DeviceUse::workspace));
  kind(kProcessColour, "process", total_of(&DeviceUse::process));
  kind(kVirtualColour, "virtual devices", total_of(&DeviceUse::host_backed));
  kind(kReserve, "reserve", total_of(&DeviceUse::reserve));
  canvas_.line(x, y + 9, x + 15, y + 9, kLimitColour, true);
  canvas_.text(x + 23, y + 13, "limit");
}

// Every module as wide as its share of the bytes, so that the rhythm of the stream can be seen.
void Picture::draw_band() {
  const double top = kColumnTop + kColumnHeight + 62;
  const double full = width_ - 2 * kMargin;
  canvas_.text(kMargin, top - 9, "in order of execution", {.size = 12.5, .bold = true});
  double total = 0;
  for (const Step& step : steps_) {
    for (const auto& [device, bytes] : step.bytes) total += static_cast<double>(bytes);
  }
  double x = kMargin;
  double free_from = 0;  // labels must not run into each other
  for (const Step& step : steps_) {
    double bytes = 0;
    for (const auto& [device, part] : step.bytes) bytes += static_cast<double>(part);
    const double width = total > 0 ? bytes / total * full : 0;
    double y = top;
    for (const auto& [device, part] : step.bytes) {
      const double height = bytes > 0 ? static_cast<double>(part) / bytes * kBandHeight : 0;
      canvas_.rectangle(x, y, width, height, colour_of(device), width > 2.5 ? "white" : "none",
                        str_cat(step.layer >= 0 ? "layer " : "", step.name, ": ", human_size(part),
                                " on ", to_string(device)));
      y += height;
    }
    const std::string name = short_name(step, width);
    const double label_width = 6.2 * static_cast<double>(name.size()) + 4;
    const double middle = x + width / 2;
    if (!name.empty() && middle - label_width / 2 >= free_from) {
      canvas_.text(middle, top + kBandHeight + 14, name, {.size = 10, .anchor = "middle"});
      free_from = middle + label_width / 2;
    }
    x += width;
  }
}

}  // namespace

std::string plan_svg(const PlanInput& input, const Plan& plan, const std::string& title) {
  return Picture(input, plan, title).draw();
}

}  // namespace shoehorn
