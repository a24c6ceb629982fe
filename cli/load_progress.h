// Shows what the library says it is doing, and its notes, without the two getting in each other's
// way.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "progress.h"

namespace shoehorn::cli {

/// One line for whatever is going on. Thread-safe.
class LoadProgress {
 public:
  /// `done` of `total` of `what`; another `what` begins another line.
  void update(const std::string& what, std::uint64_t done, std::uint64_t total);
  /// Writes a note to stderr.
  void note(const std::string& text);

 private:
  std::mutex mutex_;
  std::string what_;
  std::unique_ptr<Progress> line_;
};

}  // namespace shoehorn::cli
