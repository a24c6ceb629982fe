#include "progress.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include <sys/ioctl.h>
#include <unistd.h>

namespace shoehorn {
namespace {

constexpr double kDrawEvery_s = 0.1;  // as often as a person can follow digits
constexpr double kRateAfter_s = 0.5;
constexpr std::string_view kEraseLine = "\r\x1b[K";

// Three significant digits: 9.87, 98.7, 987.
std::string three_digits(double value) {
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  std::array<char, 32> text;
  const int length = std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return {text.data(), static_cast<std::size_t>(std::max(length, 0))};
}

// Rates of drives and links are told in powers of ten, as their makers do.
std::string amount(double value, ProgressUnit unit) {
  if (unit != ProgressUnit::kBytes) {
    const char* name = unit == ProgressUnit::kTokens ? " tok" : "";
    return (value < 1000 ? three_digits(value) : std::to_string(std::llround(value))) + name;
  }
  constexpr std::array<const char*, 5> kUnits = {" B", " kB", " MB", " GB", " TB"};
  std::size_t power = 0;
  while (value >= 999.5 && power + 1 < kUnits.size()) {
    value /= 1000;
    ++power;
  }
  return power == 0 ? std::to_string(std::llround(value)) + kUnits[0]
                    : three_digits(value) + kUnits[power];
}

// 0:07, 12:34, 1:02:03
std::string clock_time(double seconds) {
  const long long whole = std::llround(std::min(seconds, 359999.0));
  std::array<char, 32> text;
  const int length =
      whole < 3600 ? std::snprintf(text.data(), text.size(), "%lld:%02lld", whole / 60, whole % 60)
                   : std::snprintf(text.data(), text.size(), "%lld:%02lld:%02lld", whole / 3600,
                                   whole / 60 % 60, whole % 60);
  return {text.data(), static_cast<std::size_t>(std::max(length, 0))};
}

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char byte) { return (byte & '\xC0') != '\x80'; }));
}

std::string first_characters(std::string_view utf8, std::size_t count) {
  std::size_t end = 0;
  while (end < utf8.size()) {
    const bool starts = (utf8[end] & '\xC0') != '\x80';
    if (starts && count-- == 0) break;
    ++end;
  }
  return std::string(utf8.substr(0, end));
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

void write_to_stderr(std::string_view text) {
  // Unbuffered, and what a terminal does not take is only a line that is drawn again.
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

std::string progress_line(std::string_view name, std::uint64_t done, std::uint64_t total,
                          double elapsed_s, ProgressUnit unit, int width) {
  const bool knows_end = total > 0;
  const double share =
      knows_end ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total)) : 0;
  // What follows name and bar, the most important first.
  std::vector<std::string> parts;
  parts.push_back(knows_end ? std::to_string(static_cast<int>(share * 100)) + "%"
                            : amount(static_cast<double>(done), unit));
  if (elapsed_s >= kRateAfter_s && done > 0) {
    parts.push_back(amount(static_cast<double>(done) / elapsed_s, unit) + "/s");
    if (knows_end) parts.push_back(clock_time(elapsed_s / share - elapsed_s) + " left");
  }

  const auto room = static_cast<std::size_t>(std::max(width, 0));
  std::string line = first_characters(name, room);
  std::string tail;
  for (const std::string& part : parts) {
    if (characters(line) + tail.size() + 2 + part.size() > room) break;
    tail += "  " + part;
  }
  // The percentage moves by a column as it grows; the bar must not.
  constexpr std::size_t kShortestBar = 10;
  constexpr std::size_t kLongestBar = 40;
  constexpr std::size_t kTailColumns = 34;
  const std::size_t taken = characters(line) + std::max(tail.size(), kTailColumns) + 4;
  if (knows_end && taken + kShortestBar <= room) {
    const std::size_t columns = std::min(room - taken, kLongestBar);
    const auto filled = static_cast<std::size_t>(share * static_cast<double>(columns));
    line += "  [" + std::string(filled, '#') + std::string(columns - filled, '.') + "]";
  }
  return line + tail;
}

ProgressTerminal ProgressTerminal::standard_error() {
  const char* kind = std::getenv("TERM");
  const bool can_rewrite = kind != nullptr && std::string_view(kind) != "dumb" && *kind != '\0';
  ProgressTerminal terminal{.write = nullptr, .width = terminal_width, .now_s = steady_seconds};
  if (::isatty(STDERR_FILENO) == 1 && can_rewrite) terminal.write = write_to_stderr;
  return terminal;
}

Progress::Progress(std::string name, std::uint64_t total, ProgressUnit unit,
                   ProgressTerminal terminal)
    : name_(std::move(name)),
      total_(total),
      unit_(unit),
      terminal_(std::move(terminal)),
      shown_(static_cast<bool>(terminal_.write)) {
  if (!shown_) return;
  start_s_ = terminal_.now_s();
  // Work that is over at once shows nothing.
  next_draw_s_ = start_s_ + kDrawEvery_s;
}

Progress::~Progress() {
  finish();
}

void Progress::add(std::uint64_t amount) {
  done_.fetch_add(amount, std::memory_order_relaxed);
  if (shown_) maybe_draw();
}

void Progress::set(std::uint64_t done) {
  done_.store(done, std::memory_order_relaxed);
  if (shown_) maybe_draw();
}

void Progress::maybe_draw() {
  const double now_s = terminal_.now_s();
  double due_s = next_draw_s_.load(std::memory_order_relaxed);
  if (now_s < due_s) return;
  // One of the threads that find it due draws; the others go on working.
  if (!next_draw_s_.compare_exchange_strong(due_s, now_s + kDrawEvery_s)) return;
  const std::lock_guard lock(mutex_);
  if (finished_) return;
  // One column stays free: a full line wraps on some terminals, and then cannot be rewritten.
  std::string line = progress_line(name_, done_.load(std::memory_order_relaxed), total_,
                                   now_s - start_s_, unit_, terminal_.width() - 1);
  if (line == drawn_line_) return;
  // Overwritten, then cleared to the end: clearing first would flicker.
  terminal_.write("\r" + line + "\x1b[K");
  drawn_line_ = std::move(line);
}

void Progress::finish() {
  const std::lock_guard lock(mutex_);
  if (!shown_ || finished_) return;
  finished_ = true;
  if (!drawn_line_.empty()) terminal_.write(kEraseLine);
}

}  // namespace shoehorn
