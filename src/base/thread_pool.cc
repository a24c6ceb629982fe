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

// About 100 us of spinning: longer than the gap between two kernels of a forward pass, shorter than
// anything a person or another process would notice.
constexpr int kSpins = 20000;

inline void pause_processor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct ThreadPool::Shared {
  // One loop. `ticket` counts loops; a worker takes part in each exactly once.
  std::atomic<std::uint64_t> ticket{0};
  std::atomic<std::int64_t> next{0};
  std::atomic<int> busy{0};
  std::int64_t pieces = 0;
  Loop loop;
  std::atomic<bool> stop{false};

  std::mutex mutex;  // guards sleeping, error
  std::condition_variable wake;
  int sleeping = 0;
  std::exception_ptr error;

  std::vector<std::thread> workers;

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

  void work(int thread) {
    std::uint64_t seen = 0;
    for (;;) {
      int spins = 0;
      while (ticket.load(std::memory_order_acquire) == seen) {
        if (++spins < kSpins) {
          pause_processor();
          continue;
        }
        std::unique_lock lock(mutex);
        ++sleeping;
        wake.wait(lock, [&] { return ticket.load(std::memory_order_acquire) != seen; });
        --sleeping;
      }
      ++seen;
      if (stop.load(std::memory_order_relaxed)) return;
      run_pieces(thread);
      busy.fetch_sub(1, std::memory_order_release);
    }
  }

  void announce() {
    ticket.fetch_add(1, std::memory_order_seq_cst);
    bool someone_sleeps;
    {
      const std::lock_guard lock(mutex);
      someone_sleeps = sleeping > 0;
    }
    if (someone_sleeps) wake.notify_all();
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
  shared_->announce();
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
  shared.busy.store(threads_ - 1, std::memory_order_relaxed);
  shared.announce();
  shared.run_pieces(0);
  while (shared.busy.load(std::memory_order_acquire) != 0) pause_processor();
  if (shared.error) std::rethrow_exception(std::exchange(shared.error, nullptr));
}

}  // namespace shoehorn
