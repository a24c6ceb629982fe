// A reader for tests that does to reads what drives do: fails them, cuts them short, takes its
// time.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include <unistd.h>

#include "base/async_reader.h"

namespace shoehorn::testing {

/// What becomes of a read: all of it by default.
struct Fault {
  int error = 0;                          // errno
  std::size_t at_most = ~std::size_t{0};  // bytes that come back
};

/// Reads one after the other; `fault` says what becomes of each. Counts from 0.
class FaultyReader : public AsyncReader {
 public:
  using Decide = std::function<Fault(const ReadRequest& request, std::uint64_t number)>;
  explicit FaultyReader(Decide decide) : decide_(std::move(decide)) {}

  void start(const ReadRequest& request) override {
    const Fault fault = decide_(request, number_++);
    std::int64_t bytes = -fault.error;
    if (fault.error == 0) {
      const std::size_t wanted = std::min(request.out.size(), fault.at_most);
      bytes = ::pread(request.fd, request.out.data(), wanted, static_cast<off_t>(request.offset));
      if (bytes < 0) bytes = -errno;
    }
    results_.push_back({request.tag, bytes});
  }

  ReadResult wait() override {
    // The last first: nobody may count on an order.
    const ReadResult result = results_.back();
    results_.pop_back();
    return result;
  }

 private:
  Decide decide_;
  std::uint64_t number_ = 0;
  std::deque<ReadResult> results_;
};

}  // namespace shoehorn::testing
