#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

// Spinning for a third of a millisecond to one, by the processor's pause: longer than the gap
// between two kernels of a forward pass or two tokens, shorter than anything a person would notice.
constexpr int kSpins = 20000;

inline void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct ThreadPool::Shared {
  // The gate of the loop in progress: its number, whether it is open, and how many workers are in.
  // A worker enters by adding one while the gate is open; the caller closes it when no piece is
  // left and waits only for those inside. A worker that sleeps, or whose core something else is
  // using, is not waited for: it finds the gate closed.
  std::atomic<std::uint64_t> gate{0};
  static constexpr std::uint64_t kOpen = 0x8000;
  static constexpr std::uint64_t kInside = 0x7FFF;
  static constexpr int kNumberShift = 16;

  // The loop: written while the gate is closed and empty, read inside.
  std::atomic<std::int64_t> next{0};
  std::int64_t pieces = 0;
  Loop loop;

  std::atomic<bool> stop{false};
  std::atomic<int> sleeping{0};
  std::mutex mutex;  // guards error, and falling asleep
  std::condition_variable wake;
  std::exception_ptr error;

  std::vector<std::thread> workers;

  std::uint64_t number() const { return gate.load(std::memory_order_seq_cst) >> kNumberShift; }

  void run_pieces(int thread) {
    try {
      for (;;) {
        const std::int64_t piece = next.fetch_add(1, std::memory_order_relaxed);
        if (piece >= pieces) return;
        loop.call(loop.context, piece, thread);
      }
    } catch (...) {
      next.store(pieces, std::memory_order_relaxed);
      const std::lock_guard lock(mutex);
      if (!error) error = std::current_exception();
    }
  }

  void wait_for_another(std::uint64_t seen) {
    for (int spins = 0; spins < kSpins; ++spins) {
      if (number() != seen) return;
      pause_processor();
    }
    std::unique_lock lock(mutex);
    sleeping.fetch_add(1, std::memory_order_seq_cst);
    // A worker that comes late to a loop may have seen the number of the end already.
    wake.wait(lock, [&] { return number() != seen || stop.load(std::memory_order_relaxed); });
    sleeping.fetch_sub(1, std::memory_order_seq_cst);
  }

  // True once inside; false if the loop that was seen is closed.
  bool enter(std::uint64_t& seen) {
    std::uint64_t value = gate.load(std::memory_order_acquire);
    do {
      seen = value >> kNumberShift;
      if ((value & kOpen) == 0) return false;
    } while (!gate.compare_exchange_weak(value, value + 1, std::memory_order_acquire));
    return true;
  }

  void work(int thread) {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_another(seen);
      if (stop.load(std::memory_order_relaxed)) return;
      if (!enter(seen)) continue;
      run_pieces(thread);
      gate.fetch_sub(1, std::memory_order_release);
    }
  }

  // Opens the next loop, or with 0 for `open` only wakes everyone.
  void announce(std::uint64_t open) {
    gate.store(((number() + 1) << kNumberShift) | open, std::memory_order_seq_cst);
    // A worker counts itself as asleep before it looks at the number for the last time, so one of
    // the two sees the other.
    if (sleeping.load(std::memory_order_seq_cst) == 0) return;
    { const std::lock_guard lock(mutex); }
    wake.notify_all();
  }

  void close_and_wait() {
    gate.fetch_and(~kOpen, std::memory_order_acq_rel);
    while ((gate.load(std::memory_order_acquire) & kInside) != 0) pause_processor();
  }
};

ThreadPool::ThreadPool(int threads) : shared_(std::make_unique<Shared>()), threads_(threads) {
  if (threads < 1) throw ArgumentError("a thread pool needs at least one thread");
  shared_->workers.reserve(static_cast<std::size_t>(threads - 1));
  for (int thread = 1; thread < threads; ++thread) {
    shared_->workers.emplace_back([shared = shared_.get(), thread] { shared->work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  shared_->stop.store(true);
  shared_->announce(0);
  for (std::thread& worker : shared_->workers) worker.join();
}

void ThreadPool::run(std::int64_t pieces, Loop loop) {
  if (threads_ == 1 || pieces <= 1) {
    for (std::int64_t piece = 0; piece < pieces; ++piece) loop.call(loop.context, piece, 0);
    return;
  }
  Shared& shared = *shared_;
  shared.pieces = pieces;
  shared.loop = loop;
  shared.next.store(0, std::memory_order_relaxed);
  shared.announce(Shared::kOpen);
  shared.run_pieces(0);
  shared.close_and_wait();
  if (shared.error) std::rethrow_exception(std::exchange(shared.error, nullptr));
}

}  // namespace shoehorn
