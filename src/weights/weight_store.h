// All weights of a model, where the plan put them: resident ones loaded once, the others streamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "quant/weight_form.h"
#include "weights/card_stream.h"
#include "weights/device_memory.h"
#include "weights/group_times.h"
#include "weights/weight_group.h"
#include "weights/weight_stream.h"

namespace shoehorn {

/// Immutable once loaded, but for the stream: one pass at a time.
class WeightStore {
 public:
  struct Options {
    /// The ring that disk weights come to holds so many times what the largest group takes.
    int staging_slots = 2;
    IoMode io = {};  // how their drive is read
    /// Compare what is streamed with the first time that it was read.
    bool verify = false;
    ReaderFactory make_reader = {};  // of tests
    /// The CUDA devices that weights of host memory and disk may come to; none: they never do.
    std::vector<Device> link_devices = {};
    int link_slots = 2;
    /// Told how many of how many bytes are resident; may be empty. Called from several threads.
    std::function<void(std::size_t done, std::size_t total)> on_progress = {};
  };

  /// Loads what is resident, tensor by tensor in parallel on `pool`. `groups` are in the order of a
  /// pass. `checkpoint` and `memory` outlive the store. Throws FileError, DeviceError.
  WeightStore(const Checkpoint& checkpoint, std::vector<WeightGroup> groups, DeviceMemory& memory,
              ThreadPool& pool, Isa isa, const Options& options);

  /// A group's weights while a pass uses them. Its views end with it.
  class Lease {
   public:
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    /// The weight at that position of its group; data is null where the model has none.
    const WeightView& operator[](std::size_t weight) const { return views_[weight]; }

   private:
    friend class WeightStore;
    Lease(GroupClock::Use use, WeightStream* stream, std::vector<WeightView> views)
        : use_(std::move(use)), stream_(stream), views_(std::move(views)) {}
    Lease(GroupClock::Use use, CardStream* link, const cuda::Queue* queue,
          std::vector<WeightView> views)
        : use_(std::move(use)), link_(link), queue_(queue), views_(std::move(views)) {}
    GroupClock::Use use_;             // until the lease ends
    WeightStream* stream_ = nullptr;  // null: nothing of the group is streamed to the host
    CardStream* link_ = nullptr;      // null: nor to a card
    const cuda::Queue* queue_ = nullptr;
    std::vector<WeightView> views_;
  };

  /// A pass begins in which each of these groups comes to the CUDA device that computes it: what of
  /// it lives in host memory or on disk. None: weights are taken where they live.
  void begin_pass(const std::vector<std::pair<std::size_t, Device>>& brought);

  /// Waits for the streamed weights of the group; of one that is brought to a card, `queue` of the
  /// device that computes it waits. Throws FileError.
  Lease take(std::size_t group, const cuda::Queue* queue = nullptr);

  /// A weight where it lives; data is null where it is not in memory.
  const WeightView& view(std::size_t group, std::size_t weight) const {
    return views_[group][weight];
  }

  /// out[i, :] = row ids[i] of a weight, as float32, wherever it lives. ids are in range, out is in
  /// host memory.
  void fetch_rows(std::size_t group, std::size_t weight, std::span<const std::int32_t> ids,
                  std::span<float> out);

  const std::vector<WeightGroup>& groups() const { return groups_; }
  std::size_t resident_bytes() const { return resident_bytes_; }
  std::size_t streamed_bytes_per_pass() const { return streamed_bytes_; }
  /// Weights sent to cards while passes ran.
  std::uint64_t link_bytes() const { return link_ ? link_->bytes_sent() : 0; }
  /// How long passes waited for each group, and computed with it; by position in groups().
  std::vector<GroupTime> group_times() const { return clock_.times(); }
  StreamStats stream_stats() const { return stream_ ? stream_->stats() : StreamStats{}; }
  /// What the drive did for each streamed group, in the order of a pass.
  std::vector<GroupReads> group_reads() const {
    return stream_ ? stream_->group_reads() : std::vector<GroupReads>{};
  }

 private:
  void place_residents(DeviceMemory& memory);
  void open_link(const Options& options, DeviceMemory& memory);
  LinkGroup link_group(std::size_t group, Device device) const;
  void load_residents(const DeviceMemory& memory, ThreadPool& pool, const Options& options);

  const Checkpoint& checkpoint_;
  std::vector<WeightGroup> groups_;
  Isa isa_;
  GroupClock clock_{groups_.size()};
  std::vector<DeviceBuffer> buffers_;
  std::vector<std::vector<WeightView>> views_;  // data null for streamed weights
  std::vector<std::ptrdiff_t> stream_index_;    // group → index in the stream; -1: none
  std::size_t resident_bytes_ = 0;
  std::size_t streamed_bytes_ = 0;
  ReadScratch row_scratch_;
  std::unique_ptr<WeightStream> stream_;
  std::vector<cuda::PinnedRange> pinned_;  // host memory that cards read
  std::unique_ptr<CardStream> link_;       // after what it reads
  std::vector<LinkGroup> link_groups_;  // of the pass; those of groups that bring nothing left out
};

}  // namespace shoehorn
