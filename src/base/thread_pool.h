// A fixed set of threads that share loops. Kernels are microseconds long, so a waiting thread spins
// before it sleeps, and work is handed out piece by piece: a core that something else is using
// does not hold up the others.
#pragma once

#include <cstdint>
#include <memory>

namespace shoehorn {

/// Runs loops on `threads` threads, the caller's included. Not thread-safe: one loop at a time, and
/// a body must not start another one.
class ThreadPool {
 public:
  /// threads = 1 means no other thread. Throws ArgumentError for 0.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  /// Calls body(piece, thread) once for every piece in 0..pieces-1, `thread` in 0..threads()-1
  /// being the same for calls that run on the same thread. Returns when all are done. The first
  /// exception thrown by a body is rethrown here once the others have ended.
  template <typename Body>
  void parallel_for(std::int64_t pieces, const Body& body) {
    run(pieces, Loop{&body, [](const void* context, std::int64_t piece, int thread) {
                       (*static_cast<const Body*>(context))(piece, thread);
                     }});
  }

 private:
  struct Shared;
  // A borrowed body: std::function would allocate for every loop.
  struct Loop {
    const void* context = nullptr;
    void (*call)(const void* context, std::int64_t piece, int thread) = nullptr;
  };
  void run(std::int64_t pieces, Loop loop);

  std::unique_ptr<Shared> shared_;
  int threads_;
};

}  // namespace shoehorn
