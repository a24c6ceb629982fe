// Reads the disk weights of one group after the other into a ring of slots, one group ahead, in the
// order in which a pass takes them, around the end into the next pass.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "weights/device_memory.h"
#include "weights/weight_group.h"
#include "weights/weight_loader.h"

namespace shoehorn {

struct StreamStats {
  std::uint64_t bytes_read = 0;  // from the checkpoint's files
  double wait_s = 0;             // the pass waited for the drive
};

/// The ring and its reader thread. One pass at a time takes from it; take and give_back are called
/// by the thread that runs the pass.
class WeightStream {
 public:
  /// `groups` are those with streamed weights, in the order of a pass; both they and `checkpoint`
  /// outlive the stream.
  WeightStream(const Checkpoint& checkpoint, std::vector<const WeightGroup*> groups, int slots,
               DeviceMemory& memory, Isa isa);
  ~WeightStream();
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;

  /// Waits until `group` (an index into the constructor's list) is read and returns its slot: the
  /// streamed weights one after the other, each at a multiple of kSlotAlignment. A pass that skips
  /// groups (it was cancelled, say) is followed to the group it asks for. Throws what the reader
  /// met: FileError naming file, tensor and offset.
  std::span<const std::byte> take(std::size_t group);
  /// The slot of the last take may be overwritten.
  void give_back();

  /// All slots, for whoever lets a card read them.
  std::span<std::byte> memory() { return buffer_.bytes(); }

  StreamStats stats() const;

  static constexpr std::size_t kSlotAlignment = 64;

 private:
  struct Slot {
    std::size_t group = 0;
    std::size_t offset = 0;  // of its memory in buffer_
  };

  void read_ahead();
  void read_group(const WeightGroup& group, std::span<std::byte> out, LoadScratch& scratch);
  bool stopping() const;

  const Checkpoint& checkpoint_;
  std::vector<const WeightGroup*> groups_;
  Isa isa_;
  std::size_t slot_bytes_ = 0;
  DeviceBuffer buffer_;

  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable freed_;
  std::vector<Slot> ring_;
  std::uint64_t taken_ = 0;     // slots given back or in use, counted from the start
  std::uint64_t produced_ = 0;  // slots filled, likewise
  std::uint64_t released_ = 0;  // slots free again, likewise
  std::exception_ptr error_;
  bool stop_ = false;
  StreamStats stats_;

  std::thread reader_;  // last: everything it uses is there when it starts
};

}  // namespace shoehorn
