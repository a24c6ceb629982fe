#include "api/machine_limits.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "shoehorn/error.h"

#include "base/disk_probe.h"
#include "base/drive_choice.h"
#include "base/host_buffer.h"
#include "base/memory_status.h"
#include "base/str_cat.h"
#include "cuda/blas.h"
#include "cuda/card.h"
#include "kernels/probe.h"
#include "kernels/probe_cuda.h"
#include "plan/budget.h"
#include "plan/size_string.h"

namespace shoehorn {
namespace {

// Without limits given, this share of what is free is ours.
constexpr double kFreeShare = 0.9;

// What a plan measures: enough for the rates to be steady, too little for a person to wait for.
constexpr std::size_t kMemoryProbeBytes = std::size_t{512} << 20;
constexpr std::uint64_t kDiskProbeBytes = std::uint64_t{256} << 20;
constexpr double kDiskProbeSeconds = 0.3;

// Arithmetic of an accelerator that is only assumed: cards of the last years do 100 to 300 16-bit
// operations in the time they read a byte.
constexpr double kFlopsPerByte = 100;

// Of cards nobody measured.
constexpr double kUsualCardMemory = 1e12;
constexpr double kUsualCardLink = 24e9;

/// "4.3TB/s" → 4.3e12.
double parse_rate(std::string_view text) {
  if (!text.ends_with("/s")) {
    throw ArgumentError(str_cat("--assume: \"", text, "\" is no rate; write for example 50GB/s"));
  }
  return static_cast<double>(parse_size(text.substr(0, text.size() - 2)));
}

/// What --assume says: "0=80GiB@4.3TB/s,cpu=64GiB@30GB/s,link=50GB/s,disk=2GB/s".
struct Assumptions {
  std::map<DeviceKey, PlanDevice> devices;
  double link_bytes_per_s = 0;
  double disk_bytes_per_s = 0;
};

Assumptions parse_assumptions(std::string_view text) {
  Assumptions result;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos) {
      throw ArgumentError(str_cat("--assume: \"", item,
                                  "\" is not NAME=VALUE; write for example "
                                  "0=80GiB@4.3TB/s,link=50GB/s"));
    }
    const std::string_view name = item.substr(0, equals);
    const std::string_view value = item.substr(equals + 1);
    if (name == "link") {
      result.link_bytes_per_s = parse_rate(value);
    } else if (name == "disk") {
      result.disk_bytes_per_s = parse_rate(value);
    } else {
      const auto key = device_key_from_text(name);
      if (!key || key->is_disk() || (key->is_accelerator() && key->index < 0)) {
        throw ArgumentError(str_cat("--assume: \"", name,
                                    "\" is not an accelerator's number, cpu, "
                                    "link or disk"));
      }
      const std::size_t at = value.find('@');
      PlanDevice& device = result.devices[*key];
      device.limit_bytes = parse_size(value.substr(0, at));
      if (at != std::string_view::npos) {
        device.rates.memory_bytes_per_s = parse_rate(value.substr(at + 1));
      }
    }
  }
  return result;
}

/// What a device of a device map may use where the user sets no limit: a share of what is free now,
/// and what CUDA takes for itself; all of a piece of a card.
std::size_t default_limit(const Accelerator& accelerator) {
  if (accelerator.device.kind != DeviceKind::kCuda) return accelerator.limit_bytes;
  const std::size_t context = cuda::context_bytes(accelerator.card);
  const auto free = static_cast<double>(cuda::free_bytes(accelerator.card));
  return std::min(accelerator.limit_bytes, context + static_cast<std::size_t>(kFreeShare * free));
}

/// Context and library scratch, charged to the first of the devices that share a card; and the
/// rates of a usual card, for plans that are made without measuring.
void add_card_costs(const Machine& machine, const Accelerator& accelerator, PlanDevice& device) {
  const auto first = std::ranges::find(machine.accelerators, accelerator.card, &Accelerator::card);
  const bool is_first = first->device == accelerator.device;
  device.process_bytes =
      cuda::Blas::kWorkspaceBytes + (is_first ? cuda::context_bytes(accelerator.card) : 0);
  device.rates = {.memory_bytes_per_s = kUsualCardMemory,
                  .flops_per_s = kFlopsPerByte * kUsualCardMemory,
                  .link_bytes_per_s = kUsualCardLink};
}

/// Logits of a step, and what is made of them to choose by.
std::size_t output_bytes(const OpenedModel& opened, const RunShape& shape) {
  return 2 * sizeof(float) * static_cast<std::size_t>(shape.max_batch) *
         static_cast<std::size_t>(opened.architecture->shape().vocab_size);
}

MaxMemory as_max_memory(const std::map<std::string, std::string>& limits) {
  MaxMemory result;
  for (const auto& [device, size] : limits) result.emplace_back(device, size);
  return result;
}

}  // namespace

Machine machine_limits(const LoadOptions& options, const OpenedModel& opened, RunShape& shape,
                       const std::string& assume) {
  const Assumptions assumed = parse_assumptions(assume);
  Machine machine;
  machine.accelerators = find_accelerators();
  machine.disk_bytes_per_s = assumed.disk_bytes_per_s;
  const AcceleratorCounts counts = machine.counts();
  const auto add = [&](DeviceKey key, std::size_t limit) {
    PlanDevice& device = machine.devices[key];
    device.limit_bytes = limit;
    device.workspace_bytes = shape.workspace_bytes;
    const Accelerator* const accelerator = machine.accelerator(key);
    const bool is_card = accelerator != nullptr && accelerator->device.kind == DeviceKind::kCuda;
    device.host_memory = key.is_accelerator() && !is_card;  // virtual: made of host memory
    if (is_card) add_card_costs(machine, *accelerator, device);
  };
  if (options.max_memory.empty()) {
    for (int i = 0; i < counts.total(); ++i) {
      add(DeviceKey::accelerator(i),
          default_limit(machine.accelerators[static_cast<std::size_t>(i)]));
    }
    const MemoryStatus memory = memory_status();
    add(DeviceKey::cpu(),
        process_memory().rss_bytes +
            static_cast<std::size_t>(kFreeShare * static_cast<double>(memory.free_bytes)));
  } else {
    for (const auto& [key, limit] : parse_max_memory(as_max_memory(options.max_memory), counts)) {
      if (key.is_disk()) continue;
      if (key.is_accelerator() && !assumed.devices.contains(key)) {
        if (key.index < 0 || key.index >= counts.total()) {
          throw ArgumentError(str_cat("--max-memory names accelerator ", key.index,
                                      ", but this machine has ", counts.total(),
                                      "; `shoehorn plan --assume ", key.index,
                                      "=80GiB@4.3TB/s` plans for one that is not here"));
        }
        add(key,
            std::min(limit, machine.accelerators[static_cast<std::size_t>(key.index)].limit_bytes));
      } else {
        add(key, limit);
      }
    }
  }
  for (const auto& [key, device] : assumed.devices) {
    if (!machine.devices.contains(key)) add(key, device.limit_bytes);
    PlanDevice& target = machine.devices[key];
    target.limit_bytes = std::min(target.limit_bytes, device.limit_bytes);
    target.rates.memory_bytes_per_s = device.rates.memory_bytes_per_s;
    if (key.is_accelerator()) {
      target.rates.link_bytes_per_s = assumed.link_bytes_per_s;
      target.rates.flops_per_s = kFlopsPerByte * device.rates.memory_bytes_per_s;
      target.host_memory = false;
    }
  }
  // A virtual device whose number stands for an assumed card is none.
  const auto is_card = [&](DeviceKey key) {
    const Accelerator* const accelerator = machine.accelerator(key);
    return accelerator != nullptr && accelerator->device.kind == DeviceKind::kCuda;
  };
  std::vector<std::size_t> card_limits;
  for (const auto& [key, device] : machine.devices) {
    if (is_card(key)) card_limits.push_back(device.limit_bytes);
  }
  if (!card_limits.empty()) set_card_shape(opened, card_limits, shape);
  for (auto& [key, device] : machine.devices) {
    if (is_card(key)) {
      device.workspace_bytes = shape.card_workspace_bytes;
      if (opened.adapters) device.workspace_bytes += opened.adapters->card_bytes();
    }
    // Last: the driver has taken of the host what it takes.
    if (key.is_cpu()) {
      device.workspace_bytes = shape.workspace_bytes;
      device.process_bytes = process_memory().rss_bytes + output_bytes(opened, shape);
    }
  }
  return machine;
}

const File* largest_file(const Checkpoint& checkpoint) {
  const auto largest = std::ranges::max_element(checkpoint.files(), {}, &File::size);
  return largest == checkpoint.files().end() ? nullptr : &*largest;
}

void recall_drive_rate(const Checkpoint& checkpoint, Machine& machine) {
  const File* const largest = largest_file(checkpoint);
  if (machine.disk_bytes_per_s > 0 || largest == nullptr) return;
  if (const auto known = remembered_drive(*largest, drive_choices_path())) {
    machine.disk_bytes_per_s = known->bytes_per_s;
  }
}

void measure_rates(const Checkpoint& checkpoint, const RunShape& shape, Machine& machine) {
  ThreadPool pool(shape.threads);
  double memory = 0;  // not known
  if (memory_status().free_bytes > 4 * kMemoryProbeBytes) {
    HostBuffer buffer(kMemoryProbeBytes);
    std::ranges::fill(buffer.bytes(), std::byte{1});
    memory = measure_read_bandwidth(pool, buffer.bytes(), 4 * kMemoryProbeBytes, shape.isa);
  }
  const double flops = measure_f32_gflops(pool, shape.isa) * 1e9;
  for (auto& [key, device] : machine.devices) {
    const Accelerator* const accelerator = machine.accelerator(key);
    if (accelerator != nullptr && accelerator->device.kind == DeviceKind::kCuda) {
      const cuda::CardRates rates = cuda::measure_card_rates(accelerator->card);
      device.rates = {.memory_bytes_per_s = rates.memory_bytes_per_s,
                      .flops_per_s = rates.bf16_flops,
                      .link_bytes_per_s = rates.link_bytes_per_s};
    }
    if (device.rates.memory_bytes_per_s == 0) device.rates.memory_bytes_per_s = memory;
    if (device.rates.flops_per_s == 0) device.rates.flops_per_s = flops;
  }
  if (machine.disk_bytes_per_s > 0) return;
  const File* const largest = largest_file(checkpoint);
  if (largest == nullptr) return;
  // A small model is read again in every pass: its rate is not that of one burst.
  DiskProbeOptions options{.max_seconds = kDiskProbeSeconds, .least_bytes = kDiskProbeBytes};
  try {
    const IoMode io = choose_io(*largest, drive_choices_path());
    if (largest->size() < io.read_bytes) return;
    // Virtual and throttled drives begin with a burst, which no long run sees.
    DiskProbeOptions burst = options;
    burst.max_seconds = kDiskProbeSeconds / 2;
    measure_disk_read(*largest, io, burst);
    machine.disk_bytes_per_s = measure_disk_read(*largest, io, options).bytes_per_s();
    machine.disk_latency_s = measure_disk_latency(*largest, io);
  } catch (const FileError&) {
    // The plan then assumes a usual drive's rate.
  }
}

}  // namespace shoehorn
