// What kind of machine this is, for choosing the number of threads and for `shoehorn doctor`: the
// processor and how much of it we may use, huge pages, and the GPUs that the system shows, whether
// or not this build can use them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shoehorn {

struct ProcessorFacts {
  std::string name;          ///< as the processor reports it; "unknown" where it does not
  std::string architecture;  ///< as uname has it: x86_64, aarch64
  /// Those instruction set extensions, by their names in /proc/cpuinfo, that our kernels can make
  /// use of or that tell why they cannot.
  std::vector<std::string> features = {};
  bool virtual_machine = false;  ///< a hypervisor may hide features and share cores
  int online = 0;                ///< logical processors of the machine
  int cores = 0;    ///< of them, those that are no second thread of another; 0: unknown
  int allowed = 0;  ///< logical processors in our affinity mask
  /// Processors' worth of time that the tightest cgroup quota grants; absent where there is none.
  std::optional<double> cgroup_quota = std::nullopt;
  int numa_nodes = 1;
  std::uint64_t l2_bytes = 0;  ///< of one core; 0: unknown
  std::uint64_t l3_bytes = 0;  ///< shared; 0: unknown
};

struct GpuFacts {
  std::string name;         ///< "NVIDIA H200"; the PCI ids where no driver tells a name
  std::string pci_address;  ///< "0000:0b:00.0"; empty where unknown
};

/// What of NVIDIA's driver and devices is visible without its libraries.
struct GpuSurvey {
  std::vector<GpuFacts> gpus = {};
  std::optional<std::string> driver_version = std::nullopt;  ///< of the loaded kernel module
  /// Empty where GPUs can be used as far as the system goes, else why not and what to do.
  std::string obstacle;
};

struct MachineFacts {
  ProcessorFacts processor;
  std::string kernel;            ///< "Linux 6.1.0-28-amd64"
  std::string operating_system;  ///< "Debian GNU/Linux 12 (bookworm)"; empty where unknown
  /// Transparent huge pages: "always", "madvise", "never"; empty where the kernel has none.
  std::string huge_pages;
  GpuSurvey gpus;
};

/// All of the above. `root` is the folder that holds proc/, sys/, dev/ and etc/; affinity, uname
/// and architecture are always this process's. Throws nothing: what cannot be read stays empty.
MachineFacts survey_machine(const std::filesystem::path& root = "/");

ProcessorFacts survey_processor(const std::filesystem::path& root = "/");
GpuSurvey survey_gpus(const std::filesystem::path& root = "/");

/// Processors' worth of time that the tightest quota of our control groups (v1 and v2, up the
/// hierarchy) grants, or nothing.
std::optional<double> cgroup_processor_quota(const std::filesystem::path& root = "/");

/// Processors that this process may use, 1 or more: its affinity mask, cut by the quota rounded up.
int usable_processors(const std::filesystem::path& root = "/");

}  // namespace shoehorn
