// All weights of a model, where the plan put them: resident ones loaded once, the others streamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "quant/weight_form.h"
#include "weights/device_memory.h"
#include "weights/weight_group.h"
#include "weights/weight_stream.h"

namespace shoehorn {

/// Immutable once loaded, but for the stream: one pass at a time.
class WeightStore {
 public:
  struct Options {
    int staging_slots = 2;
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
    Lease(WeightStream* stream, std::vector<WeightView> views)
        : stream_(stream), views_(std::move(views)) {}
    WeightStream* stream_;  // null: nothing of the group is streamed
    std::vector<WeightView> views_;
  };

  /// Waits for the streamed weights of the group. Throws FileError.
  Lease take(std::size_t group);

  /// out[i, :] = row ids[i] of a weight, as float32, wherever it lives. ids are in range.
  void fetch_rows(std::size_t group, std::size_t weight, std::span<const std::int32_t> ids,
                  std::span<float> out);

  const std::vector<WeightGroup>& groups() const { return groups_; }
  std::size_t resident_bytes() const { return resident_bytes_; }
  std::size_t streamed_bytes_per_pass() const { return streamed_bytes_; }
  StreamStats stream_stats() const { return stream_ ? stream_->stats() : StreamStats{}; }

 private:
  void place_residents(DeviceMemory& memory);
  void load_residents(ThreadPool& pool, const Options& options);

  const Checkpoint& checkpoint_;
  std::vector<WeightGroup> groups_;
  Isa isa_;
  std::vector<DeviceBuffer> buffers_;
  std::vector<std::vector<WeightView>> views_;          // data null for streamed weights
  std::vector<std::vector<std::size_t>> slot_offsets_;  // of streamed weights in their slot
  std::vector<std::ptrdiff_t> stream_index_;            // group → index in the stream; -1: none
  std::size_t resident_bytes_ = 0;
  std::size_t streamed_bytes_ = 0;
  ReadScratch row_scratch_;
  std::unique_ptr<WeightStream> stream_;
};

}  // namespace shoehorn
