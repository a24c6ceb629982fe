#include "base/machine.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include <sched.h>
#include <sys/utsname.h>

#include "base/cgroup.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

// x86 and Arm names cannot be confused, so one list serves both.
constexpr std::array<std::string_view, 37> kFeatures = {
    "sse2",        "ssse3",       "sse4_2",   "avx",           "f16c",         "fma",
    "avx2",        "bmi2",        "avx_vnni", "avx_vnni_int8", "avx512f",      "avx512bw",
    "avx512cd",    "avx512dq",    "avx512vl", "avx512vbmi",    "avx512_vbmi2", "avx512_vnni",
    "avx512_bf16", "avx512_fp16", "avx10_1",  "avx10_2",       "amx_tile",     "amx_int8",
    "amx_bf16",    "amx_fp16",    "gfni",     "asimd",         "asimdhp",      "asimddp",
    "fphp",        "bf16",        "i8mm",     "sve",           "sve2",         "sme",
    "sme2"};

struct CpuInfo {
  std::map<std::string, std::string> first;  // keys of the first processor
  int processors = 0;
  std::set<std::pair<std::string, std::string>> cores;  // physical id, core id
};

CpuInfo read_cpuinfo(const fs::path& root) {
  CpuInfo info;
  std::string package;
  std::ifstream file(root / "proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    std::string key = line.substr(0, colon);
    key.erase(key.find_last_not_of(" \t") + 1);
    std::string value = line.substr(colon + 1);
    value.erase(0, value.find_first_not_of(" \t"));
    if (key == "processor") ++info.processors;
    if (key == "physical id") package = value;
    if (key == "core id") info.cores.emplace(package, value);
    info.first.try_emplace(key, value);
  }
  return info;
}

std::string find_or_empty(const std::map<std::string, std::string>& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : found->second;
}

// "2048K", "480M"
std::uint64_t parse_cache_size(const std::string& text) {
  const std::uint64_t number =
      std::min(parse_leading_number(text).value_or(0), std::uint64_t{1} << 40);
  if (text.ends_with('K')) return number << 10;
  if (text.ends_with('M')) return number << 20;
  return number;
}

std::uint64_t cache_bytes(const fs::path& root, const std::string& level) {
  for (int index = 0; index < 8; ++index) {
    const fs::path cache = root / "sys/devices/system/cpu/cpu0/cache" / str_cat("index", index);
    if (read_first_line(cache / "level") != level) continue;
    if (read_first_line(cache / "type") == "Instruction") continue;
    return parse_cache_size(read_first_line(cache / "size").value_or(""));
  }
  return 0;
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    paths.push_back(it->path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// Entries "node0", "nvidia1": the prefix and a number.
int count_numbered(const fs::path& folder, std::string_view prefix) {
  const auto paths = entries(folder);
  return static_cast<int>(std::count_if(paths.begin(), paths.end(), [&](const fs::path& path) {
    const std::string name = path.filename().string();
    return name.size() > prefix.size() && name.starts_with(prefix) &&
           std::all_of(name.begin() + static_cast<std::ptrdiff_t>(prefix.size()), name.end(),
                       [](unsigned char c) { return std::isdigit(c) != 0; });
  }));
}

// "always [madvise] never"
std::string bracketed(const std::string& text) {
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return text.substr(open + 1, close - open - 1);
}

std::string operating_system(const fs::path& root) {
  std::ifstream file(root / "etc/os-release");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string name = line.substr(line.find('=') + 1);
    std::erase(name, '"');
    return name;
  }
  return {};
}

// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 ..."
std::optional<std::string> nvidia_driver_version(const fs::path& root) {
  std::istringstream words(read_first_line(root / "proc/driver/nvidia/version").value_or(""));
  for (std::string word; words >> word;) {
    const bool is_version = word.find('.') != std::string::npos &&
                            std::all_of(word.begin(), word.end(), [](unsigned char c) {
                              return std::isdigit(c) != 0 || c == '.';
                            });
    if (is_version) return word;
  }
  return read_first_line(root / "sys/module/nvidia/version");
}

// The driver's own list: a folder a GPU, named after its PCI address.
std::vector<GpuFacts> gpus_of_driver(const fs::path& root) {
  std::vector<GpuFacts> gpus;
  for (const fs::path& folder : entries(root / "proc/driver/nvidia/gpus")) {
    GpuFacts gpu{.name = "NVIDIA GPU", .pci_address = folder.filename().string()};
    std::ifstream file(folder / "information");
    for (std::string line; std::getline(file, line);) {
      if (!line.starts_with("Model:")) continue;
      const std::size_t start = line.find_first_not_of(" \t", std::string_view("Model:").size());
      if (start != std::string::npos) gpu.name = line.substr(start);
    }
    gpus.push_back(std::move(gpu));
  }
  return gpus;
}

// Display (class 03) and accelerator (class 12) functions of `vendor` on the PCI bus.
std::vector<GpuFacts> gpus_on_pci(const fs::path& root, std::string_view vendor,
                                  std::string_view vendor_name) {
  std::vector<GpuFacts> gpus;
  for (const fs::path& device : entries(root / "sys/bus/pci/devices")) {
    if (read_first_line(device / "vendor") != vendor) continue;
    const std::string kind = read_first_line(device / "class").value_or("");
    if (!kind.starts_with("0x03") && !kind.starts_with("0x12")) continue;
    gpus.push_back({.name = str_cat(vendor_name, " device ",
                                    read_first_line(device / "device").value_or("unknown")),
                    .pci_address = device.filename().string()});
  }
  return gpus;
}

int allowed_processors() {
  // Room for more processors than cpu_set_t has: the kernel refuses a mask that is too small.
  std::vector<cpu_set_t> mask(16);
  const std::size_t bytes = mask.size() * sizeof(cpu_set_t);
  if (::sched_getaffinity(0, bytes, mask.data()) != 0) return 1;
  return std::max(1, CPU_COUNT_S(bytes, mask.data()));
}

bool can_open(const fs::path& path) {
  return std::ifstream(path).is_open();
}

std::string gpu_obstacle(const fs::path& root, const GpuSurvey& survey) {
  if (!survey.driver_version) {
    if (!survey.gpus.empty()) {
      return "an NVIDIA GPU is on the PCI bus, but its driver is not loaded: install the driver";
    }
    const std::vector<GpuFacts> amd = gpus_on_pci(root, "0x1002", "AMD");
    if (!amd.empty()) return "no NVIDIA GPU (an AMD one is there; shoehorn does not use it)";
    return "no NVIDIA GPU";
  }
  if (count_numbered(root / "dev", "nvidia") == 0) {
    return survey.gpus.empty()
               ? "the NVIDIA driver is loaded, but it shows no GPU"
               : "the NVIDIA driver is loaded, but /dev/nvidia0 is missing: give the container its "
                 "GPUs, or run nvidia-modprobe";
  }
  std::error_code error;
  if (!fs::exists(root / "dev/nvidiactl", error)) {
    return "/dev/nvidiactl is missing: give the container its GPUs, or run nvidia-modprobe";
  }
  if (!can_open(root / "dev/nvidiactl")) {
    return "/dev/nvidiactl cannot be opened: this user may not use the GPUs";
  }
  return {};
}

}  // namespace

std::optional<double> cgroup_processor_quota(const fs::path& root) {
  std::optional<double> tightest;
  for (const CgroupFolder& group : cgroup_folders("cpu", root)) {
    double quota_us = 0;
    double period_us = 0;
    if (group.v2) {
      std::ifstream file(group.path / "cpu.max");  // "150000 100000" or "max 100000"
      file >> quota_us >> period_us;
    } else {
      std::ifstream(group.path / "cpu.cfs_quota_us") >> quota_us;  // -1: none
      std::ifstream(group.path / "cpu.cfs_period_us") >> period_us;
    }
    if (!(quota_us > 0 && period_us > 0)) continue;
    tightest = std::min(tightest.value_or(quota_us / period_us), quota_us / period_us);
  }
  return tightest;
}

int usable_processors(const fs::path& root) {
  const int allowed = allowed_processors();
  const std::optional<double> quota = cgroup_processor_quota(root);
  if (!quota || *quota >= allowed) return allowed;
  // A quota of 1.5 processors is served by two threads.
  return std::max(1, static_cast<int>(std::ceil(*quota - 1e-3)));
}

ProcessorFacts survey_processor(const fs::path& root) {
  const CpuInfo info = read_cpuinfo(root);
  ProcessorFacts facts;
  utsname system{};
  if (::uname(&system) == 0) facts.architecture = system.machine;
  facts.name = find_or_empty(info.first, "model name");
  if (facts.name.empty()) facts.name = "unknown";
  const std::string flags =
      find_or_empty(info.first, "flags") + " " + find_or_empty(info.first, "Features");
  std::set<std::string> present;
  std::istringstream words(flags);
  for (std::string word; words >> word;) present.insert(word);
  for (const std::string_view feature : kFeatures) {
    if (present.contains(std::string(feature))) facts.features.emplace_back(feature);
  }
  facts.virtual_machine = present.contains("hypervisor");
  facts.online = info.processors;
  facts.cores = static_cast<int>(info.cores.size());
  facts.allowed = allowed_processors();
  facts.cgroup_quota = cgroup_processor_quota(root);
  facts.numa_nodes = std::max(1, count_numbered(root / "sys/devices/system/node", "node"));
  facts.l2_bytes = cache_bytes(root, "2");
  facts.l3_bytes = cache_bytes(root, "3");
  return facts;
}

GpuSurvey survey_gpus(const fs::path& root) {
  GpuSurvey survey;
  survey.driver_version = nvidia_driver_version(root);
  survey.gpus = gpus_of_driver(root);
  if (survey.gpus.empty()) survey.gpus = gpus_on_pci(root, "0x10de", "NVIDIA");
  survey.obstacle = gpu_obstacle(root, survey);
  return survey;
}

MachineFacts survey_machine(const fs::path& root) {
  MachineFacts facts;
  facts.processor = survey_processor(root);
  utsname system{};
  if (::uname(&system) == 0) facts.kernel = str_cat(system.sysname, " ", system.release);
  facts.operating_system = operating_system(root);
  facts.huge_pages =
      bracketed(read_first_line(root / "sys/kernel/mm/transparent_hugepage/enabled").value_or(""));
  facts.gpus = survey_gpus(root);
  return facts;
}

}  // namespace shoehorn
