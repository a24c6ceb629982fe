#include "shoehorn/machine.h"

#include <algorithm>
#include <iomanip>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/disk_probe.h"
#include "base/machine.h"
#include "base/memory_status.h"
#include "base/str_cat.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_path.h"
#include "cuda/card.h"
#include "kernels/probe.h"
#include "weights/device_memory.h"

namespace shoehorn {
namespace {

// Larger than any processor's caches.
constexpr std::size_t kProbeBufferBytes = std::size_t{1} << 30;

int thread_count(const ProbeOptions& options) {
  return options.threads > 0 ? options.threads : usable_processors();
}

/// What a person should know is wrong, and what to do about it.
std::vector<std::string> complaints(const MachineFacts& machine, const MemoryStatus& memory,
                                    const ProbeOptions& options) {
  std::vector<std::string> result;
  const auto& features = machine.processor.features;
  if (machine.processor.architecture == "x86_64" &&
      std::ranges::find(features, "avx2") == features.end()) {
    result.emplace_back("this processor has no AVX2: shoehorn runs, but slowly");
  }
  if (machine.huge_pages == "never") {
    result.emplace_back(
        "transparent huge pages are off: loading and decoding are slower; `echo madvise > "
        "/sys/kernel/mm/transparent_hugepage/enabled` turns them on");
  }
  if (machine.processor.cgroup_quota && *machine.processor.cgroup_quota < thread_count(options)) {
    result.push_back(str_cat("a cgroup quota of ", *machine.processor.cgroup_quota,
                             " processors is below the ", thread_count(options),
                             " threads in use"));
  }
  if (memory.free_bytes < (std::uint64_t{1} << 30)) {
    result.push_back(str_cat("only ", memory.free_bytes >> 20, " MiB of memory are free"));
  }
  return result;
}

/// "13.0" of 13000; empty for 0.
std::string cuda_version(int version) {
  return version == 0 ? std::string() : str_cat(version / 1000, ".", version % 1000 / 10);
}

/// Nothing where the card does not say, or fails.
std::optional<std::size_t> free_bytes(const cuda::Card& card) {
  try {
    return cuda::free_bytes(card.ordinal);
  } catch (const DeviceError&) {
    return std::nullopt;
  }
}

nlohmann::ordered_json cuda_json() {
  const cuda::Cards& found = cuda::find_cards();
  const auto version = [](int number) {
    return number == 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(cuda_version(number));
  };
  nlohmann::ordered_json json = {{"driver", version(found.driver_version)},
                                 {"runtime", version(found.runtime_version)},
                                 {"obstacle", found.why_none},
                                 {"cards", nlohmann::ordered_json::array()}};
  for (const cuda::Card& card : found.cards) {
    const auto free = free_bytes(card);
    json["cards"].push_back(
        {{"device", str_cat("cuda:", card.ordinal)},
         {"name", card.name},
         {"pci_bus_id", card.pci_bus_id},
         {"compute_capability", str_cat(card.major, ".", card.minor)},
         {"multiprocessors", card.multiprocessors},
         {"memory_bytes", card.memory_bytes},
         {"free_bytes", free ? nlohmann::ordered_json(*free) : nlohmann::ordered_json()},
         {"l2_bytes", card.l2_bytes}});
  }
  return json;
}

nlohmann::ordered_json report_json(const MachineFacts& machine, const MemoryStatus& memory,
                                   const MachineRates& rates, const ProbeOptions& options) {
  nlohmann::ordered_json json;
  const ProcessorFacts& processor = machine.processor;
  json["processor"] = {{"name", processor.name},         {"architecture", processor.architecture},
                       {"features", processor.features}, {"isa", to_string(detect_isa())},
                       {"online", processor.online},     {"cores", processor.cores},
                       {"allowed", processor.allowed},   {"threads", thread_count(options)}};
  json["processor"]["cgroup_quota"] =
      processor.cgroup_quota ? nlohmann::ordered_json(*processor.cgroup_quota) : nullptr;
  json["kernel"] = machine.kernel;
  json["operating_system"] = machine.operating_system;
  json["huge_pages"] = machine.huge_pages;
  json["memory"] = {{"total_bytes", memory.total_bytes},
                    {"available_bytes", memory.available_bytes},
                    {"free_bytes", memory.free_bytes},
                    {"swap_total_bytes", memory.swap_total_bytes}};
  json["memory"]["cgroup_limit_bytes"] =
      memory.cgroup_limit_bytes ? nlohmann::ordered_json(*memory.cgroup_limit_bytes) : nullptr;
  json["rates"] = {
      {"memory_gb_s", rates.memory_bytes_s / 1e9},
      {"f32_gflops", rates.f32_flops / 1e9},
      {"disk_gb_s",
       rates.disk_bytes_s > 0 ? nlohmann::ordered_json(rates.disk_bytes_s / 1e9) : nullptr}};
  json["gpus"] = nlohmann::ordered_json::array();
  for (const GpuFacts& gpu : machine.gpus.gpus) {
    json["gpus"].push_back({{"name", gpu.name}, {"pci_address", gpu.pci_address}});
  }
  json["gpu_driver"] =
      machine.gpus.driver_version ? nlohmann::ordered_json(*machine.gpus.driver_version) : nullptr;
  json["gpu_obstacle"] = machine.gpus.obstacle;
  json["cuda"] = cuda_json();
  json["accelerators"] = nlohmann::ordered_json::array();
  for (const Accelerator& accelerator : find_accelerators()) {
    json["accelerators"].push_back(
        {{"device", to_string(accelerator.device)}, {"limit_bytes", accelerator.limit_bytes}});
  }
  json["problems"] = complaints(machine, memory, options);
  return json;
}

std::string gib(std::uint64_t bytes) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << static_cast<double>(bytes) / (1ULL << 30) << " GiB";
  return out.str();
}

std::string cuda_text() {
  const cuda::Cards& found = cuda::find_cards();
  std::ostringstream out;
  for (const cuda::Card& card : found.cards) {
    out << "card        cuda:" << card.ordinal << ", " << card.name << ", compute capability "
        << card.major << '.' << card.minor << ", ";
    if (const auto free = free_bytes(card)) out << gib(*free) << " free of ";
    out << gib(card.memory_bytes) << '\n';
  }
  if (found.cards.empty()) out << "cards       none: " << found.why_none << '\n';
  if (found.runtime_version == 0) return out.str();
  const std::string driver = cuda_version(found.driver_version);
  out << "cuda        " << (driver.empty() ? "no driver" : "driver for " + driver)
      << ", built with " << cuda_version(found.runtime_version) << '\n';
  return out.str();
}

std::string report_text(const MachineFacts& machine, const MemoryStatus& memory,
                        const MachineRates& rates, const ProbeOptions& options) {
  std::ostringstream out;
  const ProcessorFacts& processor = machine.processor;
  out << "processor   " << processor.name << ", " << processor.allowed << " of " << processor.online
      << " processors, " << thread_count(options) << " threads, kernels for "
      << to_string(detect_isa()) << "\n            ";
  for (const std::string& feature : processor.features) out << feature << ' ';
  out << "\nsystem      " << machine.operating_system << ", " << machine.kernel << ", huge pages "
      << (machine.huge_pages.empty() ? "none" : machine.huge_pages) << "\nmemory      "
      << gib(memory.free_bytes) << " free of " << gib(memory.total_bytes);
  if (memory.cgroup_limit_bytes) out << ", cgroup limit " << gib(*memory.cgroup_limit_bytes);
  out << std::fixed << std::setprecision(1) << "\nrates       memory " << rates.memory_bytes_s / 1e9
      << " GB/s, f32 " << rates.f32_flops / 1e9 << " GFLOP/s";
  if (rates.disk_bytes_s > 0) {
    out << std::setprecision(2) << ", drive " << rates.disk_bytes_s / 1e9 << " GB/s";
  } else {
    out << "; --file FILE measures the drive that holds it";
  }
  out << "\ngpus        ";
  if (machine.gpus.gpus.empty()) out << "none";
  for (const GpuFacts& gpu : machine.gpus.gpus) out << gpu.name << ' ';
  if (!machine.gpus.obstacle.empty())
    out << (machine.gpus.gpus.empty() ? ": " : "- ") << machine.gpus.obstacle;
  out << '\n' << cuda_text();
  for (const Accelerator& accelerator : find_accelerators()) {
    out << "accelerator " << to_string(accelerator.device) << ", " << gib(accelerator.limit_bytes)
        << '\n';
  }
  const std::vector<std::string> problems = complaints(machine, memory, options);
  for (const std::string& problem : problems) out << "problem     " << problem << '\n';
  if (problems.empty()) out << "nothing is wrong\n";
  return out.str();
}

}  // namespace

MachineRates measure_machine(const ProbeOptions& options) {
  MachineRates rates;
  const Isa isa = detect_isa();
  {
    ThreadPool pool(thread_count(options));
    HostBuffer buffer(std::min(kProbeBufferBytes, options.bytes));
    std::ranges::fill(buffer.bytes(), std::byte{1});
    rates.memory_bytes_s = measure_read_bandwidth(pool, buffer.bytes(), options.bytes, isa);
    rates.f32_flops = measure_f32_flops(pool, isa);
  }
  if (!options.file.empty()) {
    rates.disk_bytes_s = probe_disk(options.file, {.max_bytes = options.bytes}).drive.bytes_per_s();
  }
  return rates;
}

MachineReport doctor(const ProbeOptions& options) {
  const MachineFacts machine = survey_machine();
  const MemoryStatus memory = memory_status();
  const MachineRates rates = measure_machine(options);
  return {.text = report_text(machine, memory, rates, options),
          .json = report_json(machine, memory, rates, options).dump()};
}

std::filesystem::path largest_file(const std::string& model) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model_path(model));
  const auto largest = std::ranges::max_element(checkpoint.files(), {}, &File::size);
  if (largest == checkpoint.files().end()) throw FileError(checkpoint.path(), "has no files");
  return largest->path();
}

std::size_t peak_resident_bytes() {
  return process_memory().peak_rss_bytes;
}

}  // namespace shoehorn
