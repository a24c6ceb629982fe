#include "shoehorn/machine.h"

#include <algorithm>
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "api/card_report.h"
#include "api/machine_limits.h"
#include "base/disk_probe.h"
#include "base/drive_choice.h"
#include "base/machine.h"
#include "base/memory_status.h"
#include "base/str_cat.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_path.h"
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

/// How drives are read: what was found on the file's one just now, and on others before.
std::vector<DriveChoice> drives(const ProbeOptions& options) {
  if (!options.file.empty()) probe_and_remember(File(options.file), drive_choices_path());
  return read_drive_choices(drive_choices_path());
}

nlohmann::ordered_json report_json(const MachineFacts& machine, const MemoryStatus& memory,
                                   const MachineRates& rates, const std::vector<CardReport>& cards,
                                   const std::vector<DriveChoice>& drives,
                                   const ProbeOptions& options) {
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
  json["drives"] = nlohmann::ordered_json::array();
  for (const DriveChoice& drive : drives) {
    json["drives"].push_back({{"device", drive.device},
                              {"io", path_name(drive.io)},
                              {"read_bytes", drive.io.read_bytes},
                              {"reads_in_flight", drive.io.reads_in_flight},
                              {"gb_s", drive.bytes_per_s / 1e9},
                              {"probed", drive.date}});
  }
  json["gpus"] = nlohmann::ordered_json::array();
  for (const GpuFacts& gpu : machine.gpus.gpus) {
    json["gpus"].push_back({{"name", gpu.name}, {"pci_address", gpu.pci_address}});
  }
  json["gpu_driver"] =
      machine.gpus.driver_version ? nlohmann::ordered_json(*machine.gpus.driver_version) : nullptr;
  json["gpu_obstacle"] = machine.gpus.obstacle;
  json["cuda"] = nlohmann::ordered_json::parse(cards_json(cards));
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

std::string report_text(const MachineFacts& machine, const MemoryStatus& memory,
                        const MachineRates& rates, const std::vector<CardReport>& cards,
                        const std::vector<DriveChoice>& drives, const ProbeOptions& options) {
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
  for (const DriveChoice& drive : drives) {
    out << "\ndrive       " << drive.device << " is read " << path_name(drive.io) << ", "
        << drive.io.reads_in_flight << " x " << (drive.io.read_bytes >> 10) << " KiB in flight, "
        << std::setprecision(2) << drive.bytes_per_s / 1e9 << " GB/s on " << drive.date;
  }
  out << "\ngpus        ";
  if (machine.gpus.gpus.empty()) out << "none";
  for (const GpuFacts& gpu : machine.gpus.gpus) out << gpu.name << ' ';
  if (!machine.gpus.obstacle.empty())
    out << (machine.gpus.gpus.empty() ? ": " : "- ") << machine.gpus.obstacle;
  out << '\n' << cards_text(cards);
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
    const File file(options.file);
    const IoMode io = choose_io(file, drive_choices_path());
    rates.disk_bytes_s = measure_disk_read(file, io, {.max_bytes = options.bytes}).bytes_per_s();
  }
  return rates;
}

MachineReport doctor(const ProbeOptions& options) {
  const MachineFacts machine = survey_machine();
  const MemoryStatus memory = memory_status();
  const std::vector<DriveChoice> choices = drives(options);
  const MachineRates rates = measure_machine(options);
  const std::vector<CardReport> cards = survey_cards();
  return {.text = report_text(machine, memory, rates, cards, choices, options),
          .json = report_json(machine, memory, rates, cards, choices, options).dump()};
}

std::filesystem::path largest_file(const std::string& model) {
  const Checkpoint checkpoint = open_checkpoint(resolve_model_path(model));
  const File* const largest = largest_file(checkpoint);
  if (largest == nullptr) throw FileError(checkpoint.path(), "has no files");
  return largest->path();
}

std::size_t peak_resident_bytes() {
  return process_memory().peak_rss_bytes;
}

}  // namespace shoehorn
