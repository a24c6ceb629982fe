// Brings weights that live in host memory or on disk to the CUDA devices that compute with them:
// group after group in the order of a pass, ahead of it, through slots on each card, on queues of
// their own.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "cuda/memory.h"
#include "cuda/queue.h"
#include "weights/device_memory.h"
#include "weights/weight_stream.h"

namespace shoehorn {

/// Weights in a slot begin at multiples of this.
inline constexpr std::size_t kLinkAlignment = 256;

/// One run of bytes on its way to a slot.
struct LinkPiece {
  const std::byte* host = nullptr;  // null: from where the disk stream brings the weight
  std::size_t disk_weight = 0;      // its position in the group
  std::size_t bytes = 0;
  std::size_t slot_offset = 0;
};

/// One group on its way.
struct LinkGroup {
  std::size_t group = 0;
  Device device;             // the CUDA device that computes it
  std::ptrdiff_t disk = -1;  // its index in the disk stream; -1: nothing of it is on disk
  std::vector<LinkPiece> pieces = {};

  friend bool operator==(const LinkGroup& a, const LinkGroup& b) {
    return a.group == b.group && a.device == b.device;
  }
};

/// The slots of every card and the thread that feeds them. One pass at a time takes from it; begin,
/// take and give_back are called by the thread that runs the pass.
class CardStream {
 public:
  /// `slots` slots of `slot_bytes` on each of `devices`. `disk` may be null; while a pass takes
  /// groups from here, nobody else takes from it. Throws DeviceError.
  CardStream(const std::vector<Device>& devices, std::size_t slot_bytes, int slots,
             WeightStream* disk, DeviceMemory& memory);
  ~CardStream();
  CardStream(const CardStream&) = delete;
  CardStream& operator=(const CardStream&) = delete;

  /// A pass begins that takes these groups in this order. If the last pass took the same, the first
  /// of them are on their way already.
  void begin(const std::vector<LinkGroup>& groups);
  /// No pass takes from here until the next begin(): the disk stream is free for others.
  void pause();

  /// The slot of the next group, which must be `group`; `compute` waits for its bytes, the host
  /// only until they are on their way. Throws what the feeder met.
  const std::byte* take(std::size_t group, const cuda::Queue& compute);
  /// The slot of the last take may be overwritten once `compute` has done what it was given so far.
  void give_back(const cuda::Queue& compute);

  std::uint64_t bytes_sent() const;

 private:
  struct Slot {
    std::size_t offset;
    std::unique_ptr<cuda::Event> filled;
    std::unique_ptr<cuda::Event> freed;
    bool was_freed = false;
  };
  struct Lane {  // of one device
    Device device;
    cuda::Queue queue;
    DeviceBuffer buffer;
    std::vector<Slot> slots;
    std::uint64_t produced = 0;
    std::uint64_t released = 0;
    Lane(Device device, int card, DeviceBuffer buffer);
  };

  struct Ready {
    Lane* lane;
    Slot* slot;
    std::size_t group;
  };

  Lane& lane_of(Device device);
  void feed();
  void send(const LinkGroup& group, Lane& lane, Slot& slot);
  /// Waits until the feeder rests, and forgets what it has brought.
  void rest(std::unique_lock<std::mutex>& lock);

  WeightStream* disk_;
  std::vector<std::unique_ptr<Lane>> lanes_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<LinkGroup> groups_;  // empty: the feeder rests
  std::deque<Ready> ready_;        // brought and not taken yet, in order
  std::size_t next_ = 0;           // position in groups_ of what is brought next
  std::optional<Ready> current_;   // of the last take
  bool busy_ = false;              // the feeder is bringing a group
  bool pausing_ = false;
  bool stop_ = false;
  std::exception_ptr error_;
  std::uint64_t bytes_sent_ = 0;

  std::thread feeder_;  // last: everything it uses is there when it starts
};

}  // namespace shoehorn
