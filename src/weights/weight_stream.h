// Brings the disk weights of one group after the other into a ring of bytes, in the order in which
// a pass takes them, as far ahead as the ring has room, around the end into the next pass. Several
// large reads are in flight all the time; what has its form in the file is read to where it is
// used, what has to be converted goes through scratch.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/file_reads.h"
#include "base/file_stamp.h"
#include "base/host_buffer.h"
#include "checkpoint/checkpoint.h"
#include "kernels/exec_context.h"
#include "weights/byte_ring.h"
#include "weights/device_memory.h"
#include "weights/run_checksums.h"
#include "weights/stream_layout.h"
#include "weights/weight_group.h"
#include "weights/weight_loader.h"

namespace shoehorn {

/// What the drive did for one group.
struct GroupReads {
  std::string name;
  std::uint64_t times = 0;  // that it was read
  std::uint64_t bytes = 0;  // each time
  double read_s = 0;        // of all times, from the first read's start to the last one's end
};

struct StreamStats {
  std::uint64_t bytes_read = 0;  // from the checkpoint's files and the weight cache
  double wait_s = 0;             // the pass waited for the drive
};

struct StreamOptions {
  /// Of the ring; at least what the largest group takes, at most what all of them take: more would
  /// hold the same weights twice.
  std::size_t ring_bytes = 0;
  IoMode io = {};
  /// Keep a checksum of every run from the first time it was read, and compare it every other time.
  bool verify = false;
  /// Empty: by `io`. Tests put faulty readers in.
  ReaderFactory make_reader = {};
};

/// The ring and its reader thread. One pass at a time takes from it; take and give_back are called
/// by the thread that runs the pass.
class WeightStream {
 public:
  /// `groups` are those with streamed weights, in the order of a pass; both they and `checkpoint`
  /// outlive the stream.
  WeightStream(const Checkpoint& checkpoint, std::vector<const WeightGroup*> groups,
               const StreamOptions& options, DeviceMemory& memory, Isa isa);
  ~WeightStream();
  WeightStream(const WeightStream&) = delete;
  WeightStream& operator=(const WeightStream&) = delete;

  /// Bytes of a ring of `slots` times the largest group, within the limits that StreamOptions says.
  static std::size_t ring_bytes(const Checkpoint& checkpoint,
                                std::span<const WeightGroup* const> groups, int slots);

  /// Waits until `group` (an index into the constructor's list) is read and returns where its
  /// weights are, by their position in the group: null for those that are not streamed. They stay
  /// there until give_back(). A pass that skips groups (it was cancelled, say) is followed to the
  /// group it asks for. Throws what the reader met: FileError naming file, tensor and offset; the
  /// next take() reads again.
  std::span<const std::byte* const> take(std::size_t group);
  /// What the oldest take returned may be overwritten.
  void give_back();

  /// The ring, for whoever lets a card read it.
  std::span<std::byte> memory() { return buffer_.bytes(); }

  StreamStats stats() const;
  std::vector<GroupReads> group_reads() const;

 private:
  using Clock = std::chrono::steady_clock;

  struct Group {
    const WeightGroup* weights;
    StreamLayout layout;
    std::vector<const File*> files;  // that they come from
    RunChecksums checksums;
  };

  /// A chunk that has its place, on its way.
  struct Placed {
    std::byte* at = nullptr;
    std::size_t in_place_left = 0;                            // reads of its run that are not over
    std::vector<std::unique_ptr<WeightLoader>> loaders = {};  // of its weights; null: not needed
  };

  /// A group in the ring. What no comment says is the reader thread's alone until it is ready.
  struct Entry {
    std::size_t group = 0;
    std::uint64_t number = 0;   // in order, from the start
    std::uint64_t begin = 0;    // its position in the ring
    std::deque<Placed> placed;  // as far as there was room, in the order of its chunks
    std::size_t runs = 0;       // cut so far
    std::size_t left = 0;       // of them, those that are not done; 1 more while it is placed
    Clock::time_point started = {};
    std::vector<const std::byte*> at;
    bool ready = false;        // mutex_
    bool released = false;     // mutex_
    std::exception_ptr error;  // mutex_
  };

  /// A run that is read at once.
  struct Run {
    Entry* entry = nullptr;
    std::size_t chunk = 0;
    std::size_t number = 0;     // in its group, the same every time
    std::size_t weight = 0;     // in its chunk; of a piece
    std::int64_t piece = -1;    // of the weight's loader; -1: read in place
    bool loads_itself = false;  // a piece that only its loader can read
    FileReads::Read read = {};
    std::size_t bounce = 0;  // of a piece: its scratch
  };

  // The reader thread.
  void run();
  void read_ahead();
  void fill_queue();
  bool place_next();
  void cut_runs(Entry& entry, std::size_t chunk);
  void cut_pieces(Entry& entry, std::size_t chunk, std::size_t weight);
  /// `bytes` of scratch; what the bounce held is lost.
  std::span<std::byte> scratch_for(std::size_t bounce, std::size_t bytes);
  bool start(Run& run);
  void on_done(const FileReads::Done& done);
  void on_bytes(Run& run);
  void load_piece(Run& run);
  void run_done(Entry& entry);
  void fail(Entry& entry, std::exception_ptr error);
  void restart();
  void pop_released();
  bool is_given_up(const Entry& entry) const { return entry.number >= failed_; }
  std::size_t weight_at(const Run& run, std::uint64_t offset) const;

  const Checkpoint& checkpoint_;
  Isa isa_;
  StreamOptions options_;
  std::vector<Group> groups_;
  std::map<const File*, FileStamp> stamps_;
  DeviceBuffer buffer_;
  FileReads reads_;

  // The reader thread's own.
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  std::deque<Run> to_start_;
  std::vector<Run> flying_;  // by tag
  std::vector<std::size_t> free_tags_;
  std::vector<Run> held_;  // pieces that wait for the run that is read in place before them
  HostBuffer small_bounces_;
  std::vector<HostBuffer> bounces_;
  std::vector<std::size_t> free_bounces_;
  Entry* filling_ = nullptr;  // the entry that is being placed
  std::size_t next_group_ = 0;
  std::uint64_t next_number_ = 0;
  std::uint64_t failed_ = kNone;  // entries from this number on are given up
  std::uint64_t seen_releases_ = 0;
  LoadScratch scratch_;

  mutable std::mutex mutex_;
  std::condition_variable filled_;
  std::condition_variable freed_;
  ByteRing ring_;
  std::size_t step_bytes_ = 0;                  // of a read
  std::deque<std::unique_ptr<Entry>> entries_;  // oldest first
  std::size_t taken_ = 0;                       // of them, those that a pass has or had
  std::uint64_t releases_ = 0;
  bool retry_ = false;
  std::atomic<bool> stop_ = false;
  std::exception_ptr fatal_;  // the reader itself failed
  StreamStats stats_;
  std::vector<GroupReads> group_reads_;

  std::thread reader_;  // last: everything it uses is there when it starts
};

}  // namespace shoehorn
