// How much memory there is, and how much of it this process may still take and has taken: what the
// default budget of a plan is made from, and what its prediction is compared with.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace shoehorn {

/// Host memory in bytes, seen through the limits of the control groups that we run in.
struct MemoryStatus {
  std::uint64_t total_bytes = 0;  ///< what the machine has (MemTotal)
  std::uint64_t available_bytes =
      0;  ///< what the machine could give without swapping (MemAvailable)
  /// The tightest limit of our control groups; absent where none is below total_bytes.
  std::optional<std::uint64_t> cgroup_limit_bytes = std::nullopt;
  /// What this process can still allocate: available_bytes, but for each group up the hierarchy at
  /// most its limit minus its usage. File pages that the kernel would give back first do not count
  /// as usage, or a container that has read a checkpoint once would look full.
  std::uint64_t free_bytes = 0;
  std::uint64_t swap_total_bytes = 0;
  std::uint64_t swap_free_bytes = 0;

  /// min(total_bytes, cgroup_limit_bytes).
  std::uint64_t limit_bytes() const;
};

/// Now. `root` is the folder that holds proc/ and sys/. Throws FileError where /proc/meminfo is
/// missing or has no MemTotal.
MemoryStatus memory_status(const std::filesystem::path& root = "/");

/// Memory of this process that is resident, in bytes, mapped files included.
struct ProcessMemory {
  std::uint64_t rss_bytes = 0;        ///< VmRSS
  std::uint64_t peak_rss_bytes = 0;   ///< VmHWM: since the start or the last reset
  std::uint64_t anonymous_bytes = 0;  ///< RssAnon: of rss_bytes, what has no file behind it
};

/// Now; zeros where /proc does not tell.
ProcessMemory process_memory(const std::filesystem::path& root = "/");

/// Makes peak_rss_bytes begin again at rss_bytes (Linux 4.0 and newer). False where the kernel does
/// not allow it.
bool reset_peak_rss();

}  // namespace shoehorn
