// One line on the terminal that shows how far long work has come, and is gone when it ends. In a
// pipe, and on a terminal that cannot rewrite a line, nothing is written at all.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace shoehorn {

enum class ProgressUnit { kBytes, kTokens, kItems };

/// The line, without anything that moves the cursor, at most `width` characters:
///   loading  [#######.......]  52%  1.3 GB/s  0:07 left
/// Parts that do not fit are left out, the bar first. total = 0 means that the end is not known:
/// then the amount done stands for bar and percentage. Rate and time left appear after half a
/// second, when they mean something.
std::string progress_line(std::string_view name, std::uint64_t done, std::uint64_t total,
                          double elapsed_s, ProgressUnit unit, int width);

/// Where a progress line goes, and what time it is: replaced in tests.
struct ProgressTerminal {
  std::function<void(std::string_view)> write;  ///< empty: nothing is shown
  std::function<int()> width;
  std::function<double()> now_s;

  /// stderr if it is a terminal that understands more than plain text, else nothing.
  static ProgressTerminal standard_error();
};

/// Shows progress from construction to destruction. add() and set() are thread-safe, and cost an
/// atomic addition except ten times a second.
class Progress {
 public:
  explicit Progress(std::string name, std::uint64_t total, ProgressUnit unit = ProgressUnit::kBytes,
                    ProgressTerminal terminal = ProgressTerminal::standard_error());
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// That much more is done.
  void add(std::uint64_t amount);
  /// That much is done in all.
  void set(std::uint64_t done);
  /// Erases the line; later calls show nothing. The destructor does it too.
  void finish();

 private:
  void maybe_draw();

  const std::string name_;
  const std::uint64_t total_;
  const ProgressUnit unit_;
  const ProgressTerminal terminal_;
  const bool shown_;
  double start_s_ = 0;
  std::atomic<std::uint64_t> done_{0};
  std::atomic<double> next_draw_s_{0};
  std::mutex mutex_;  // guards drawn_line_, finished_ and the terminal
  std::string drawn_line_;
  bool finished_ = false;
};

}  // namespace shoehorn
