#include "base/memory_status.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "shoehorn/error.h"

#include "base/cgroup.h"
#include "base/checked.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

// "Key:   123 kB" (meminfo, status) and "key 123" (memory.stat), in bytes.
std::map<std::string, std::uint64_t> read_sizes(const fs::path& path) {
  std::map<std::string, std::uint64_t> sizes;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key, unit;
    std::uint64_t value = 0;
    if (!(words >> key >> value)) continue;
    words >> unit;
    if (key.ends_with(':')) key.pop_back();
    const std::uint64_t scale = unit == "kB" ? 1024 : 1;
    if (const auto bytes = checked_mul(value, scale)) sizes[key] = *bytes;
  }
  return sizes;
}

std::uint64_t find_or_zero(const std::map<std::string, std::uint64_t>& sizes,
                           const std::string& key) {
  const auto found = sizes.find(key);
  return found == sizes.end() ? 0 : found->second;
}

std::optional<std::uint64_t> read_number(const fs::path& path) {
  const auto line = read_first_line(path);
  return line ? parse_leading_number(*line) : std::nullopt;  // "max" is no number: no limit
}

std::uint64_t minus_or_zero(std::uint64_t a, std::uint64_t b) {
  return a > b ? a - b : 0;
}

struct GroupMemory {
  std::optional<std::uint64_t> limit_bytes;
  std::uint64_t usage_bytes = 0;  // without what is reclaimed first
};

GroupMemory read_group(const CgroupFolder& group) {
  GroupMemory memory;
  const auto limit_by = [&](const char* file) {
    if (const auto limit = read_number(group.path / file)) {
      memory.limit_bytes = std::min(memory.limit_bytes.value_or(*limit), *limit);
    }
  };
  if (group.v2) {
    limit_by("memory.max");
    limit_by("memory.high");  // not fatal, but beyond it the kernel slows the process to a crawl
  } else {
    limit_by("memory.limit_in_bytes");  // about 2^63 where there is none
  }
  const auto usage =
      read_number(group.path / (group.v2 ? "memory.current" : "memory.usage_in_bytes"));
  const auto stat = read_sizes(group.path / "memory.stat");
  const std::string prefix = group.v2 ? "" : "total_";  // v1 counts children only under this name
  const std::uint64_t reclaimable = find_or_zero(stat, prefix + "inactive_file") +
                                    find_or_zero(stat, prefix + "active_file") +
                                    find_or_zero(stat, prefix + "slab_reclaimable");
  memory.usage_bytes = minus_or_zero(usage.value_or(0), reclaimable);
  return memory;
}

}  // namespace

std::uint64_t MemoryStatus::limit_bytes() const {
  return std::min(total_bytes, cgroup_limit_bytes.value_or(total_bytes));
}

MemoryStatus memory_status(const fs::path& root) {
  const fs::path meminfo = root / "proc/meminfo";
  const auto system = read_sizes(meminfo);
  MemoryStatus status;
  status.total_bytes = find_or_zero(system, "MemTotal");
  if (status.total_bytes == 0) throw FileError(meminfo, "expected a line MemTotal, found none");
  // Kernels before 3.14 have no MemAvailable.
  status.available_bytes = system.contains("MemAvailable")
                               ? find_or_zero(system, "MemAvailable")
                               : find_or_zero(system, "MemFree") + find_or_zero(system, "Cached");
  status.swap_total_bytes = find_or_zero(system, "SwapTotal");
  status.swap_free_bytes = find_or_zero(system, "SwapFree");

  status.free_bytes = status.available_bytes;
  for (const CgroupFolder& group : cgroup_folders("memory", root)) {
    const GroupMemory memory = read_group(group);
    if (!memory.limit_bytes || *memory.limit_bytes >= status.total_bytes) continue;
    status.cgroup_limit_bytes =
        std::min(status.cgroup_limit_bytes.value_or(*memory.limit_bytes), *memory.limit_bytes);
    status.free_bytes =
        std::min(status.free_bytes, minus_or_zero(*memory.limit_bytes, memory.usage_bytes));
  }
  return status;
}

ProcessMemory process_memory(const fs::path& root) {
  const auto sizes = read_sizes(root / "proc/self/status");
  return {.rss_bytes = find_or_zero(sizes, "VmRSS"),
          .peak_rss_bytes = find_or_zero(sizes, "VmHWM"),
          .anonymous_bytes = find_or_zero(sizes, "RssAnon")};
}

bool reset_peak_rss() {
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
}

}  // namespace shoehorn
