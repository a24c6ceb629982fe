// Blocks of threads on the processor. The threads of a block are fibers that take turns on the host
// thread that submitted the launch; a fiber runs until it waits for the others of its warp or
// block. Every second block runs its threads in the opposite order, so that what one forgot to wait
// for is likely not there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>

namespace shoehorn::cuda::emulated {

inline constexpr int kLanes = 32;
/// What a block of a Hopper card may have: 227 KiB of shared memory.
inline constexpr std::size_t kMostSharedBytes = 227 * 1024;

/// What a lane of a warp hands to the others in one step.
struct Handed {
  alignas(16) std::array<std::uint32_t, 12> words{};
};

struct Step {
  std::array<Handed, kLanes> by_lane{};
  std::uint32_t lanes = 0;  // a bit for each lane that took part
};

/// A copy to shared memory that has not arrived.
struct PendingCopy {
  void* to = nullptr;
  const void* from = nullptr;  // null: zeros
};

class Warp;

/// One thread of a block.
struct Thread {
  uint3 index{};
  unsigned lane = 0;
  Warp* warp = nullptr;
  unsigned steps = 0;  // with its warp, so far
  std::vector<PendingCopy> copies;
  std::deque<std::vector<PendingCopy>> groups;
};

/// What all threads of a launch see.
struct Launch {
  std::string_view name;
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
};

/// Runs `kernel` in every thread of every block. Aborts, naming the kernel, where its threads wait
/// for each other in vain.
void run_blocks(const Launch& launch, const std::function<void()>& kernel);

/// What this host thread runs, within run_blocks().
struct Running {
  Thread* thread = nullptr;
  const Launch* launch = nullptr;
  uint3 block{};
  std::byte* shared = nullptr;  // kMostSharedBytes at a multiple of 1,024
};
extern constinit thread_local Running running;

/// __syncthreads_or()
bool wait_for_block(bool value);

/// A step that every lane of the warp takes which has not ended: each writes what it brings to the
/// first, and after the second may read what all brought, until its next step.
Handed& begin_step();
const Step& finish_step();

/// What `lane` brought; all lanes call this together.
template <typename T>
T from_lane(T mine, unsigned lane) {
  static_assert(sizeof(T) <= sizeof(Handed));
  std::memcpy(begin_step().words.data(), &mine, sizeof(T));
  T theirs;
  std::memcpy(&theirs, finish_step().by_lane[lane % kLanes].words.data(), sizeof(T));
  return theirs;
}

/// Copies of 16 bytes to shared memory arrive when they are waited for, and no earlier.
void start_copy(void* to, const void* from);
void end_group_of_copies();
void wait_for_groups(std::size_t most_pending);

}  // namespace shoehorn::cuda::emulated
