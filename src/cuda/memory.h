// Memory of a card, host memory that a card reads directly, and copies between them.
#pragma once

#include <cstddef>
#include <span>

#include "cuda/queue.h"

namespace shoehorn::cuda {

/// Owns zero-filled memory of a card, 256-byte aligned. Thread-compatible.
class CardMemory {
 public:
  CardMemory() = default;
  /// Throws DeviceError naming card and bytes, and what is free there.
  CardMemory(int ordinal, std::size_t bytes);
  ~CardMemory();
  CardMemory(CardMemory&& other) noexcept;
  CardMemory& operator=(CardMemory&& other) noexcept;
  CardMemory(const CardMemory&) = delete;
  CardMemory& operator=(const CardMemory&) = delete;

  /// An address of the card; the host must not read or write there.
  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  int ordinal_ = 0;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Owns page-locked host memory: copies to and from a card run at the link's rate, beside the
/// host's work. Thread-compatible.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  /// Throws DeviceError.
  explicit PinnedMemory(std::size_t bytes);
  ~PinnedMemory();
  PinnedMemory(PinnedMemory&& other) noexcept;
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }
  std::span<std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Page-locks host memory that someone else owns and outlives this.
class PinnedRange {
 public:
  PinnedRange() = default;
  /// is_pinned() is false where the system does not allow it; copies then still work, slower.
  explicit PinnedRange(std::span<std::byte> memory);
  ~PinnedRange();
  PinnedRange(PinnedRange&& other) noexcept;
  PinnedRange& operator=(PinnedRange&& other) noexcept;
  PinnedRange(const PinnedRange&) = delete;
  PinnedRange& operator=(const PinnedRange&) = delete;

  bool is_pinned() const { return data_ != nullptr; }

 private:
  std::byte* data_ = nullptr;
};

/// Queues a copy between any two of: memory of the queue's card, page-locked host memory. Neither
/// may change until the queue has passed it.
void copy_async(const Queue& queue, void* to, const void* from, std::size_t bytes);

/// Runs of `run_bytes` bytes, `count` of them, that begin `to_stride` and `from_stride` bytes
/// apart.
struct StridedRuns {
  std::size_t run_bytes = 0;
  std::size_t count = 0;
  std::size_t to_stride = 0;
  std::size_t from_stride = 0;
};

/// copy_async() of many runs. Host memory may be of any kind, but must not change until the queue
/// has passed the copy.
void copy_runs_async(const Queue& queue, void* to, const void* from, const StridedRuns& runs);

/// Queues a copy from any host memory, which may be used again when this returns.
void upload(const Queue& queue, void* to, const void* from, std::size_t bytes);

/// Copies to any host memory after everything queued so far, and waits for it.
void download(const Queue& queue, void* to, const void* from, std::size_t bytes);

/// Copies from memory of one queue's card to memory of another's, after what `from_queue` has been
/// given so far and before what `to_queue` is given later. Cards that cannot reach each other, or
/// reach each other wrongly (tried once a pair), go through the host.
void copy_between(const Queue& to_queue, void* to, const Queue& from_queue, const void* from,
                  std::size_t bytes);

/// Queues filling memory of the queue's card with one byte.
void fill_async(const Queue& queue, void* to, unsigned char value, std::size_t bytes);

}  // namespace shoehorn::cuda
