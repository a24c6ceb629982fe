#include "base/async_reader.h"

#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <unistd.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

/// Each thread does one read after the other.
class ThreadReader : public AsyncReader {
 public:
  explicit ThreadReader(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  }
  ~ThreadReader() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    asked_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void start(const ReadRequest& request) override {
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    asked_.notify_one();
  }

  ReadResult wait() override {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return !results_.empty(); });
    const ReadResult result = results_.front();
    results_.pop_front();
    return result;
  }

 private:
  void work() {
    for (;;) {
      ReadRequest request;
      {
        std::unique_lock lock(mutex_);
        asked_.wait(lock, [this] { return stop_ || !requests_.empty(); });
        if (stop_) return;
        request = requests_.front();
        requests_.pop_front();
      }
      const ssize_t got = ::pread(request.fd, request.out.data(), request.out.size(),
                                  static_cast<off_t>(request.offset));
      const ReadResult result{request.tag, got < 0 ? -errno : got};
      {
        const std::lock_guard lock(mutex_);
        results_.push_back(result);
      }
      done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable asked_;
  std::condition_variable done_;
  std::deque<ReadRequest> requests_;
  std::deque<ReadResult> results_;
  bool stop_ = false;
  std::vector<std::thread> threads_;  // last: everything they use is there when they start
};

struct NamedPath {
  std::string_view name;
  bool uring;
  bool direct;
};
constexpr std::array<NamedPath, 4> kPaths = {{{"uring-direct", true, true},
                                              {"uring-buffered", true, false},
                                              {"pread-direct", false, true},
                                              {"pread-buffered", false, false}}};

}  // namespace

std::string path_name(const IoMode& mode) {
  for (const NamedPath& path : kPaths) {
    if (path.uring == mode.uring && path.direct == mode.direct) return std::string(path.name);
  }
  return {};
}

bool set_path(IoMode& mode, std::string_view name) {
  for (const NamedPath& path : kPaths) {
    if (path.name != name) continue;
    mode.uring = path.uring;
    mode.direct = path.direct;
    return true;
  }
  return false;
}

std::optional<IoMode> forced_io_mode() {
  const char* const name = std::getenv("SHOEHORN_IO");
  if (name == nullptr || *name == '\0') return std::nullopt;
  IoMode mode;
  if (!set_path(mode, name)) {
    throw ArgumentError(str_cat("SHOEHORN_IO: \"", name,
                                "\" is not one of uring-direct, uring-buffered, pread-direct, "
                                "pread-buffered"));
  }
  return mode;
}

std::unique_ptr<AsyncReader> make_thread_reader(int reads_in_flight) {
  return std::make_unique<ThreadReader>(reads_in_flight);
}

std::unique_ptr<AsyncReader> make_reader(const IoMode& mode) {
  if (mode.uring) {
    if (auto reader = make_uring_reader(mode.reads_in_flight)) return reader;
  }
  return make_thread_reader(mode.reads_in_flight);
}

}  // namespace shoehorn
