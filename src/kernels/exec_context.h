// What an operation runs with: threads, the instruction set, scratch memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/host_buffer.h"
#include "base/thread_pool.h"

namespace shoehorn {

namespace cuda {
class Queue;
}

/// The kernel files to use; each includes those before it where a kernel has no file of its own.
enum class Isa : std::uint8_t { kRef, kAvx2, kAvx512, kAmx };

/// The best one this processor and operating system support, or what SHOEHORN_ISA (ref, avx2,
/// avx512, amx) names. Throws ArgumentError for another value, DeviceError for one not supported
/// here.
Isa detect_isa();

/// "ref", "avx2", "avx512", "amx".
std::string_view to_string(Isa isa);

/// Bump allocator over memory that the plan counted: scratch of one pass, reset before the next.
/// Not thread-safe.
class Workspace {
 public:
  explicit Workspace(std::size_t bytes) : buffer_(bytes), memory_(buffer_.bytes()) {}
  /// Over memory that its owner keeps alive, 64-byte aligned.
  explicit Workspace(std::span<std::byte> memory) : memory_(memory) {}

  /// `count` uninitialised Ts, 64-byte aligned. Throws DeviceError when the plan was exceeded.
  template <typename T>
  std::span<T> take(std::size_t count) {
    return {reinterpret_cast<T*>(take_bytes(count * sizeof(T))), count};
  }

  /// A mark to go back to, freeing what was taken since.
  std::size_t mark() const { return used_; }
  void release(std::size_t mark) { used_ = mark; }
  std::size_t peak_bytes() const { return peak_; }
  std::size_t size() const { return memory_.size(); }

 private:
  std::byte* take_bytes(std::size_t bytes);

  HostBuffer buffer_;  // empty where the memory is someone else's
  std::span<std::byte> memory_;
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
};

struct ExecContext {
  ThreadPool& pool;
  Isa isa;
  Workspace& workspace;
  /// Of a CUDA device, null elsewhere. Every span that an operation is given then holds addresses
  /// of that card, the workspace's too, and the operation is submitted and not waited for.
  cuda::Queue* queue = nullptr;
};

}  // namespace shoehorn
