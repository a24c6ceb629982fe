#include "weights/resident_loader.h"

#include <algorithm>
#include <array>
#include <compare>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "shoehorn/error.h"

#include "base/file_reads.h"
#include "base/host_buffer.h"
#include "base/huge_pages.h"
#include "base/page_cache.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

// Reads that wait or are being converted; a few more than are in flight.
constexpr std::size_t kBounces = 10;
constexpr std::size_t kNoBounce = ~std::size_t{0};
constexpr std::size_t kInPlace = kNoBounce - 1;
// Memory that an idle thread puts pages under at a time: short enough that what has come does not
// wait for it.
constexpr std::size_t kPopulateBytes = std::size_t{4} << 20;

bool is_cached(const WeightLoader::Source& source) {
  return in_page_cache(*source.file, source.offset, source.bytes);
}

/// Between the reading thread and those that convert.
class Loading {
 public:
  Loading(const std::vector<LoadJob>& jobs, const JobOptions& options)
      : jobs_(jobs), options_(options), reads_(options.io) {
    for (std::size_t i = 0; i < kBounces; ++i) free_.push_back(i);
  }

  /// The reading thread: hands on every job, in order but for what the drive finishes earlier.
  void read() {
    try {
      for (std::size_t job = 0; job < jobs_.size(); ++job) {
        if (!(jobs_[job].place != nullptr ? read_in_place(job) : read_piece(job))) break;
      }
      while (reads_.in_flight() > 0) collect();
      close(nullptr);
    } catch (...) {
      close(std::current_exception());
    }
  }

  /// A converting thread.
  void convert(LoadScratch& scratch, const std::function<void(std::size_t bytes)>& loaded) {
    try {
      while (const auto ready = next()) {
        const LoadJob& job = jobs_[ready->job];
        if (ready->bounce == kInPlace) {
          job.loader->loaded_in_place(scratch);
          loaded(job.run.bytes);
          continue;
        }
        if (ready->bounce == kNoBounce) {
          job.loader->load(ready->piece, scratch);
        } else {
          job.loader->load_from(ready->piece, bytes_[ready->bounce], scratch);
          give_back(ready->bounce);
        }
        loaded(job.loader->piece_bytes(ready->piece));
      }
    } catch (...) {
      close(std::current_exception());
    }
  }

  void rethrow() const {
    if (error_ != nullptr) std::rethrow_exception(error_);
  }

 private:
  struct Ready {
    std::size_t job;
    std::size_t bounce;  // kNoBounce: the job reads by itself
    std::int64_t piece = 0;
  };

  /// So far into what is read in place.
  struct Position {
    std::size_t job = 0;
    std::size_t bytes = 0;
    auto operator<=>(const Position&) const = default;
  };

  /// Of the reading thread: false where nobody wants more.
  bool read_piece(std::size_t job) {
    const LoadJob& one = jobs_[job];
    const auto source = one.loader->source_of(one.piece);
    if (!source || options_.leave_in_page_cache || is_cached(*source)) {
      return hand_on({job, kNoBounce, one.piece});
    }
    while (reads_.full()) collect();
    const auto bounce = take_bounce();
    if (bounce) start(job, *source, *bounce);
    return bounce.has_value();
  }

  bool read_in_place(std::size_t job) {
    const LoadJob& one = jobs_[job];
    if (options_.leave_in_page_cache || is_cached(one.run)) {
      bool wanted = true;
      for (std::int64_t piece = 0; wanted && piece < one.loader->pieces(); ++piece) {
        wanted = hand_on({job, kNoBounce, piece});
      }
      return wanted;
    }
    // Cut at whole blocks of the file, so that no two reads touch the same one.
    const std::uint64_t end = one.run.offset + one.run.bytes;
    const std::size_t step = options_.io.read_bytes;
    runs_left_[job] = (end + step - 1) / step - one.run.offset / step;
    for (std::uint64_t at = one.run.offset; at < end;) {
      while (reads_.full()) collect();
      if (!is_wanted({job, static_cast<std::size_t>(at - one.run.offset)})) return false;
      const std::uint64_t stop = std::min<std::uint64_t>((at / step + 1) * step, end);
      reads_.start({.file = one.run.file,
                    .offset = at,
                    .bytes = static_cast<std::size_t>(stop - at),
                    .out = one.place + (at - one.run.offset),
                    .tag = kBounces + job});
      at = stop;
    }
    return true;
  }

  void start(std::size_t job, const WeightLoader::Source& source, std::size_t bounce) {
    HostBuffer& memory = memory_[bounce];
    // A block more at both ends, since reads are widened.
    if (memory.size() < source.bytes + 2 * kIoAlignment) {
      memory = HostBuffer(source.bytes + 2 * kIoAlignment);
    }
    std::byte* const out = memory.data() + source.offset % kIoAlignment;
    bytes_[bounce] = {out, source.bytes};
    job_of_[bounce] = job;
    reads_.start({.file = source.file,
                  .offset = source.offset,
                  .bytes = source.bytes,
                  .out = out,
                  .tag = bounce});
  }

  void collect() {
    const FileReads::Done done = reads_.wait();
    const std::size_t tag = done.read.tag;
    const bool in_place = tag >= kBounces;
    const std::size_t job = in_place ? tag - kBounces : job_of_[tag];
    if (!done.error.empty()) {
      throw FileError(done.read.file->path(),
                      str_cat("reading ", jobs_[job].loader->path(), " at byte ", done.error_offset,
                              ": ", done.error));
    }
    if (!in_place) {
      hand_on({job, tag, jobs_[job].piece});
    } else if (--runs_left_[job] == 0) {
      hand_on({job, kInPlace});
    }
  }

  /// Before a read to a place there: false where nobody wants more.
  bool is_wanted(const Position& place) {
    const std::lock_guard lock(mutex_);
    populated_ = std::max(populated_, place);
    return !closed_;
  }

  /// The next memory that is read to in place; empty where all has its pages or will soon. Locked.
  std::span<std::byte> next_unpopulated() {
    for (; populated_.job < jobs_.size(); populated_ = {populated_.job + 1, 0}) {
      const LoadJob& job = jobs_[populated_.job];
      if (job.place == nullptr || populated_.bytes >= job.run.bytes) continue;
      const std::size_t begin = populated_.bytes;
      const std::size_t count = std::min(kPopulateBytes, job.run.bytes - begin);
      populated_.bytes += count;
      return {job.place + begin, count};
    }
    return {};
  }

  /// False where nobody wants more.
  bool hand_on(const Ready& ready) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      ready_.push_back(ready);
    }
    changed_.notify_all();
    return true;
  }

  /// Nothing where nobody wants more. What is in flight is collected meanwhile.
  std::optional<std::size_t> take_bounce() {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        if (reads_.in_flight() == 0) {
          changed_.wait(lock, [this] { return closed_ || !free_.empty(); });
        }
        if (closed_) return std::nullopt;
        if (!free_.empty()) {
          const std::size_t bounce = free_.front();
          free_.pop_front();
          return bounce;
        }
      }
      collect();
    }
  }

  void give_back(std::size_t bounce) {
    {
      const std::lock_guard lock(mutex_);
      free_.push_back(bounce);
    }
    changed_.notify_all();
  }

  /// What has come; while nothing has, the caller puts pages under what is read to later.
  std::optional<Ready> next() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (error_ != nullptr) return std::nullopt;
      if (!ready_.empty()) {
        const Ready ready = ready_.front();
        ready_.pop_front();
        return ready;
      }
      if (closed_) return std::nullopt;
      const std::span<std::byte> memory = next_unpopulated();
      if (memory.empty()) {
        changed_.wait(lock);
        continue;
      }
      lock.unlock();
      const bool can = populate_pages(memory.data(), memory.size());
      lock.lock();
      if (!can) populated_ = {jobs_.size(), 0};
    }
  }

  void close(std::exception_ptr error) {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      if (error_ == nullptr) error_ = std::move(error);
    }
    changed_.notify_all();
  }

  const std::vector<LoadJob>& jobs_;
  const JobOptions options_;
  std::array<HostBuffer, kBounces> memory_;  // before the reads that go to it
  std::array<std::span<const std::byte>, kBounces> bytes_;
  std::array<std::size_t, kBounces> job_of_{};
  std::map<std::size_t, std::uint64_t> runs_left_;  // of jobs in place; of the reading thread
  FileReads reads_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::size_t> free_;
  std::deque<Ready> ready_;
  Position populated_;   // up to here memory has its pages, or a thread sees to it
  bool closed_ = false;  // nothing more comes, or nobody wants more
  std::exception_ptr error_;
};

}  // namespace

void load_jobs(const std::vector<LoadJob>& jobs, const JobOptions& options, ThreadPool& pool,
               const std::function<void(std::size_t bytes)>& loaded) {
  if (jobs.empty()) return;
  Loading loading(jobs, options);
  std::thread reader([&loading] { loading.read(); });
  std::vector<LoadScratch> scratch(static_cast<std::size_t>(pool.threads()));
  pool.parallel_for(pool.threads(), [&](std::int64_t i, int) {
    loading.convert(scratch[static_cast<std::size_t>(i)], loaded);
  });
  reader.join();
  loading.rethrow();
}

}  // namespace shoehorn
