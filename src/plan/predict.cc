// The predicted time of a pass: what each group of weights takes to be read and to be computed
// with, and how the two overlap.

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plan/cost_model.h"
#include "plan/pass_timeline.h"

namespace shoehorn {
namespace {

// For rates nobody measured: a small server, so that plans are at least ordered sensibly.
constexpr double kUsualDisk = 2e9;
constexpr double kUsualMemory = 20e9;
constexpr double kUsualFlops = 200e9;
constexpr double kUsualLink = 12e9;

// The share of the reserve that is free for the system to keep files in.
constexpr double kKeptOfReserve = 0.5;

double or_usual(double rate, double usual) {
  return rate > 0 ? rate : usual;
}

}  // namespace

DeviceKey CostModel::computed_on(std::size_t weight, DeviceKey device, const Plan& plan) const {
  if (layer_of(weight) >= 0) return plan.layer_devices[static_cast<std::size_t>(layer_of(weight))];
  return device.is_disk() ? DeviceKey::cpu() : device;
}

DeviceRates CostModel::rates_of(DeviceKey device) const {
  const auto rates_or_none = [this](DeviceKey key) {
    const auto found = input_->devices.find(key);
    return found == input_->devices.end() ? DeviceRates{} : found->second.rates;
  };
  const DeviceRates host = rates_or_none(DeviceKey::cpu());
  const DeviceRates own = rates_or_none(device);
  return {.memory_bytes_per_s =
              or_usual(own.memory_bytes_per_s, or_usual(host.memory_bytes_per_s, kUsualMemory)),
          .flops_per_s = or_usual(own.flops_per_s, or_usual(host.flops_per_s, kUsualFlops)),
          .link_bytes_per_s = or_usual(own.link_bytes_per_s, kUsualLink)};
}

bool CostModel::in_host_memory(DeviceKey device) const {
  const auto spec = input_->devices.find(device);
  return !device.is_accelerator() || (spec != input_->devices.end() && spec->second.host_memory);
}

void CostModel::add_attention(PlanStep& step) const {
  const auto layer = static_cast<std::size_t>(step.layer);
  if (layer < input_->attention_times.size() && in_host_memory(step.device)) {
    const AttentionTimes& times = input_->attention_times[layer];
    step.compute_s += times.pass_s;
    step.prefill_s += times.prompt_s;
    if (times.pass_s > 0) return;
  }
  double kv = 0;
  if (layer < input_->kv_read_bytes_per_layer.size()) {
    kv = static_cast<double>(input_->kv_read_bytes_per_layer[layer]);
  } else if (layer < input_->kv_bytes_per_layer.size()) {
    kv = static_cast<double>(input_->kv_bytes_per_layer[layer]) / 2;
  }
  step.compute_s += kv / rates_of(step.device).memory_bytes_per_s;
}

// Layers, and modules outside them, in the order of the tree, which is that of a pass.
void CostModel::list_steps(const Assignment& assignment, Plan& plan) const {
  const double disk = or_usual(input_->disk_bytes_per_s, kUsualDisk);
  const auto tokens = static_cast<double>(std::max<std::size_t>(input_->prefill_tokens, 1));
  std::optional<DeviceRates> link;  // of an accelerator that weights may come to
  for (const auto& [device, spec] : input_->devices) {
    if (spec.link_staging_bytes > 0 && !link) link = rates_of(device);
  }
  std::map<NodeId, PlanStep> steps;  // by the node of the layer or module
  for (std::size_t w = 0; w < input_->weights.size(); ++w) {
    if (!counts(w)) continue;
    const WeightCost& cost = input_->weights[w];
    const int layer = layer_of(w);
    const NodeId node = layer >= 0 ? layer_nodes_[static_cast<std::size_t>(layer)] : module_of(w);
    PlanStep& step = steps[node];
    if (step.path.empty()) {
      step.path = tree_.node(node).path;
      step.layer = layer;
      step.device = computed_on(w, assignment[w], plan);
    }
    const DeviceKey at = computed_on(w, assignment[w], plan);
    const auto bytes = static_cast<double>(cost.bytes_on(assignment[w]));
    step.bytes_on[assignment[w]][cost.form_on(assignment[w])] += cost.bytes_on(assignment[w]);
    if (assignment[w].is_disk()) {
      step.disk_bytes += cost.streamed_bytes;
      // While a weight is handled the drive reads the next; whoever computes shares the processor.
      step.read_s += std::max(static_cast<double>(cost.streamed_bytes) / disk, cost.handling_s);
      const double busy_s = cost.handling_s / input_->threads;
      step.compute_s += busy_s;
      step.prefill_s += busy_s;
    }
    if (cost.rows_only) continue;
    step.memory_bytes += static_cast<std::size_t>(bytes * cost.used_share);
    const DeviceRates rates = rates_of(at);
    const ProductTimes times = in_host_memory(at) ? cost.times_on(assignment[w]) : ProductTimes{};
    double one_s = times.pass_s;
    double many_s = times.row_s * tokens;
    if (one_s == 0) {
      // A token meets a share of the experts, a long prompt all of them.
      const double all_s = bytes / rates.memory_bytes_per_s;
      const double memory_s = all_s * cost.used_share;
      const double compute_s = cost.flops_per_token / rates.flops_per_s;
      plan.predicted.memory_s += memory_s;
      plan.predicted.compute_s += compute_s;
      one_s = std::max(memory_s, compute_s);
      many_s = std::max(all_s, compute_s * tokens);
    } else {
      // Whichever the processor's rates say takes longer; that it takes as long is measured.
      plan.predicted.memory_s += bytes / rates.memory_bytes_per_s;
      plan.predicted.compute_s += cost.flops_per_token / rates.flops_per_s;
    }
    if (link && !at.is_accelerator()) {
      // Weights of the host come to an accelerator where that is faster than computing here.
      const double link_s_of_host = bytes / link->link_bytes_per_s;
      one_s = std::min(one_s, link_s_of_host);
      many_s = std::min(
          many_s, std::max(link_s_of_host, cost.flops_per_token * tokens / link->flops_per_s));
    }
    step.compute_s += one_s;
    step.prefill_s += many_s;
    // A weight that is not where it is used crosses a link in every pass.
    if (assignment[w] != at && !(in_host_memory(assignment[w]) && in_host_memory(at))) {
      const DeviceKey over = in_host_memory(at) ? assignment[w] : at;
      plan.predicted.link_s += bytes / rates_of(over).link_bytes_per_s;
    }
  }
  for (auto& [at, step] : steps) {
    if (step.layer >= 0) add_attention(step);
    if (step.layer >= 0) step.compute_s += input_->sync_s_per_layer;
    plan.steps.push_back(std::move(step));
  }
}

void CostModel::predict(const Assignment& assignment, Plan& plan) const {
  Prediction& p = plan.predicted;
  list_steps(assignment, plan);
  std::size_t ring = 0;
  for (const StreamGroup& group : plan.stream_groups) ring = std::max(ring, group.slot_bytes);
  ring *= static_cast<std::size_t>(plan.staging_slots);
  std::map<std::string, std::size_t> slot_bytes;
  for (const StreamGroup& group : plan.stream_groups) {
    const int layer = layer_of(group.weights.front());
    const bool in_layer = layer >= 0;
    slot_bytes[in_layer ? input_->layer_paths[static_cast<std::size_t>(layer)] : group.path] +=
        group.slot_bytes;
  }
  std::vector<TimelineStep> decode;
  std::vector<TimelineStep> prefill;
  double rows_s = 0;  // embedding rows and caches on disk, which nothing overlaps
  double decode_busy = 0;
  for (const PlanStep& step : plan.steps) {
    const auto found = slot_bytes.find(step.path);
    const std::size_t slot = found == slot_bytes.end() ? 0 : found->second;
    decode.push_back({.compute_s = step.compute_s, .read_s = step.read_s, .ring_bytes = slot});
    prefill.push_back({.compute_s = step.prefill_s, .read_s = step.read_s, .ring_bytes = slot});
    if (slot == 0 && step.read_s > 0) rows_s += input_->disk_latency_s + step.read_s;
    p.disk_s += step.read_s;
    decode_busy += step.compute_s;
  }
  // Keys and values on disk are read while their layer waits for them. The system keeps what it
  // wrote last in memory, where the limit leaves room for it.
  const auto kv = static_cast<double>(input_->kv_disk_bytes_per_token);
  if (kv < kKeptOfReserve * static_cast<double>(reserve(DeviceKey::cpu()))) {
    rows_s += kv / rates_of(DeviceKey::cpu()).memory_bytes_per_s;
  } else {
    const double kv_s = kv / or_usual(input_->disk_bytes_per_s, kUsualDisk);
    p.disk_s += kv_s;
    rows_s += kv_s;
  }
  int hops = 0;
  for (std::size_t i = 1; i < plan.layer_devices.size(); ++i) {
    hops += plan.layer_devices[i] != plan.layer_devices[i - 1] ? 1 : 0;
  }
  p.busy_s = decode_busy;
  p.sync_s = input_->sync_s_per_pass + hops * input_->sync_s_per_hop;
  const auto tokens = static_cast<double>(std::max<std::size_t>(input_->prefill_tokens, 1));
  const auto steady_s = [&](const std::vector<TimelineStep>& steps) {
    return steady_pass_s(steps, ring, input_->disk_latency_s);
  };
  const double decode_s = std::max(steady_s(decode) + rows_s, p.link_s) + p.sync_s;
  const double prefill_s = std::max(steady_s(prefill) + rows_s, p.link_s) + p.sync_s;
  p.pass_s = decode_s;
  if (decode_s > 0) p.decode_tok_s = static_cast<double>(input_->batch) / decode_s;
  if (prefill_s > 0) p.prefill_tok_s = tokens / prefill_s;
  if (p.disk_s >= std::max(p.link_s, decode_busy)) {
    p.bound_by = "disk";
  } else if (p.link_s >= decode_busy) {
    p.bound_by = "link";
  } else {
    p.bound_by = p.memory_s >= p.compute_s ? "memory" : "compute";
  }
}

}  // namespace shoehorn
