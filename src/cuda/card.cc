#include "cuda/card.h"

#include <array>
#include <map>
#include <mutex>
#include <optional>

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "cuda/check.h"

namespace shoehorn::cuda {
namespace {

constexpr int kLeastMajor = 8;  // bfloat16 tensor cores and asynchronous copies

/// The driver's management library, opened by hand: a machine may have CUDA without it. The three
/// calls used have kept their signatures since NVML's first releases.
class Management {
 public:
  struct Memory {  // nvmlMemory_t
    unsigned long long total, free, used;
  };

  Management() {
    library_ = ::dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) return;
    const auto init = reinterpret_cast<int (*)()>(::dlsym(library_, "nvmlInit_v2"));
    handle_by_bus_ = reinterpret_cast<int (*)(const char*, void**)>(
        ::dlsym(library_, "nvmlDeviceGetHandleByPciBusId_v2"));
    memory_info_ =
        reinterpret_cast<int (*)(void*, Memory*)>(::dlsym(library_, "nvmlDeviceGetMemoryInfo"));
    usable_ =
        init != nullptr && handle_by_bus_ != nullptr && memory_info_ != nullptr && init() == 0;
  }

  std::optional<Memory> memory(const std::string& pci_bus_id) const {
    void* handle = nullptr;
    Memory memory{};
    if (!usable_ || handle_by_bus_(pci_bus_id.c_str(), &handle) != 0) return std::nullopt;
    if (memory_info_(handle, &memory) != 0) return std::nullopt;
    return memory;
  }

 private:
  void* library_ = nullptr;  // stays open as long as the process
  int (*handle_by_bus_)(const char*, void**) = nullptr;
  int (*memory_info_)(void*, Memory*) = nullptr;
  bool usable_ = false;
};

const Management& management() {
  static const Management library;
  return library;
}

std::string version_text(int version) {
  return str_cat(version / 1000, ".", version % 1000 / 10);
}

std::string why_no_card(int error, const Cards& cards) {
  switch (error) {
    case cudaErrorInsufficientDriver:
      return cards.driver_version == 0
                 ? std::string("no NVIDIA driver is loaded on this machine")
                 : str_cat("the NVIDIA driver is too old: it supports CUDA ",
                           version_text(cards.driver_version), ", shoehorn was built with ",
                           version_text(cards.runtime_version));
    case cudaErrorNoDevice: return "the driver sees no device (CUDA_VISIBLE_DEVICES hides some?)";
    default: return cudaGetErrorString(static_cast<cudaError_t>(error));
  }
}

Card describe(int ordinal, const cudaDeviceProp& properties) {
  std::array<char, 32> bus{};
  cudaDeviceGetPCIBusId(bus.data(), static_cast<int>(bus.size()), ordinal);
  return {.ordinal = ordinal,
          .name = properties.name,
          .pci_bus_id = bus.data(),
          .major = properties.major,
          .minor = properties.minor,
          .multiprocessors = properties.multiProcessorCount,
          .memory_bytes = properties.totalGlobalMem,
          .l2_bytes = static_cast<std::size_t>(properties.l2CacheSize),
          .shared_bytes_per_block = properties.sharedMemPerBlockOptin};
}

Cards ask_driver() {
  Cards cards;
  cudaRuntimeGetVersion(&cards.runtime_version);
  if (cudaDriverGetVersion(&cards.driver_version) != cudaSuccess) cards.driver_version = 0;
  int count = 0;
  if (const int error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    cards.why_none = why_no_card(error, cards);
    return cards;
  }
  std::string left_out;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, ordinal) != cudaSuccess) continue;
    if (properties.major < kLeastMajor) {
      left_out = str_cat(properties.name, " has compute capability ", properties.major, ".",
                         properties.minor, ", shoehorn needs 8.0");
      continue;
    }
    cards.cards.push_back(describe(ordinal, properties));
  }
  if (cards.cards.empty()) cards.why_none = left_out.empty() ? "no device" : left_out;
  return cards;
}

std::size_t used_bytes(const Card& card) {
  if (const auto memory = management().memory(card.pci_bus_id)) return memory->used;
  std::size_t free = 0;
  std::size_t total = 0;
  check(cudaSetDevice(card.ordinal), "cudaSetDevice", card.ordinal);
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo", card.ordinal);
  return total - free;
}

const Card& card_at(int ordinal) {
  for (const Card& card : find_cards().cards) {
    if (card.ordinal == ordinal) return card;
  }
  throw DeviceError(str_cat("CUDA card ", ordinal, " is not there"));
}

}  // namespace

const Cards& find_cards() {
  static const Cards cards = ask_driver();
  return cards;
}

std::size_t free_bytes(int ordinal) {
  const Card& card = card_at(ordinal);
  if (const auto memory = management().memory(card.pci_bus_id)) return memory->free;
  return card.memory_bytes - used_bytes(card);
}

std::size_t context_bytes(int ordinal) {
  // A context belongs to the process and is made once: so is what it was seen to take.
  static std::mutex mutex;
  static std::map<int, std::size_t> seen;
  const std::lock_guard lock(mutex);
  if (const auto found = seen.find(ordinal); found != seen.end()) return found->second;
  const Card& card = card_at(ordinal);
  const auto before = management().memory(card.pci_bus_id);
  check(cudaSetDevice(ordinal), "cudaSetDevice", ordinal);
  check(cudaFree(nullptr), "creating a context", ordinal);
  const std::size_t after = used_bytes(card);
  // Without the management library all that is in use is counted: too much, never too little.
  const std::size_t before_bytes = before ? before->used : 0;
  return seen[ordinal] = after > before_bytes ? after - before_bytes : 0;
}

}  // namespace shoehorn::cuda
