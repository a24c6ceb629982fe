// What a rendering may still use. Every operation on values pays here before it works, so that a
// hostile template ends with an error while the process is still small and quick.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "shoehorn/chat_template.h"

namespace shoehorn::jinja {

using ErrorKind = TemplateError::Kind;

/// The limits of templates. Real ones (the largest has 40 KB) stay far below all of them.
struct Limits {
  static constexpr std::size_t kSourceBytes = std::size_t{1} << 20;
  /// Expressions and statements of a template.
  static constexpr std::size_t kNodes = 100'000;
  /// Nesting of expressions and blocks in the source.
  static constexpr int kNesting = 200;
  /// Macros, recursive loops and caller() that run inside one another.
  static constexpr int kCalls = 100;
  /// Expressions and statements that are evaluated inside one another, calls included.
  static constexpr int kEvaluations = 2500;
  /// Evaluated nodes, loop iterations, and 64 bytes of text that an operation looks at.
  static constexpr std::uint64_t kFuel = 10'000'000;
  static constexpr std::int64_t kRange = 100'000;
  /// One string, and the output; the size of the variables comes on top.
  static constexpr std::size_t kTextBytes = std::size_t{8} << 20;
  /// All values of a rendering together; several times the size of the variables comes on top.
  static constexpr std::size_t kLiveBytes = std::size_t{24} << 20;
  /// Lists in lists.
  static constexpr std::uint32_t kDepth = 100;
};

/// A failure that does not know its place in the template yet.
struct Failure {
  ErrorKind kind;
  std::string message;
};

[[noreturn]] void fail(ErrorKind kind, std::string message);
/// A kRuntime failure in Python's words: "TypeError: ...".
[[noreturn]] void fail_runtime(std::string message);

/// Counts down; not thread-safe, one a rendering.
class Budget {
 public:
  explicit Budget(std::size_t variables_bytes)
      : text_limit_(Limits::kTextBytes + variables_bytes),
        live_limit_(Limits::kLiveBytes + 4 * variables_bytes) {}

  /// Pays for `steps` steps. Throws Failure.
  void spend(std::uint64_t steps) {
    if (steps > fuel_) fail_fuel();
    fuel_ -= steps;
  }
  /// Pays for looking at so many bytes.
  void spend_bytes(std::size_t bytes) { spend(1 + bytes / 64); }
  /// Pays for looking at so many bytes character by character: case, classes, escapes.
  void spend_characters(std::size_t bytes) { spend(1 + bytes / 4); }
  /// Refuses a text of so many bytes.
  void check_size(std::size_t bytes) const {
    if (bytes > text_limit_) fail_text();
  }
  /// Refuses a text of so many bytes before it is made, and pays for making it.
  void check_text(std::size_t bytes) {
    check_size(bytes);
    spend_bytes(bytes);
  }
  /// Memory that values and output hold.
  void charge(std::size_t bytes) {
    if (bytes > live_limit_ - live_) fail_memory();
    live_ += bytes;
  }
  void release(std::size_t bytes) noexcept { live_ -= bytes; }
  /// Refuses a list of so many values before it is made.
  void check_count(std::size_t count, std::size_t bytes_each) {
    if (count > (live_limit_ - live_) / bytes_each) fail_memory();
    spend(1 + count / 2);
  }

 private:
  [[noreturn]] static void fail_fuel();
  [[noreturn]] void fail_text() const;
  [[noreturn]] void fail_memory() const;

  std::uint64_t fuel_ = Limits::kFuel;
  std::size_t live_ = 0;
  std::size_t text_limit_;
  std::size_t live_limit_;
};

}  // namespace shoehorn::jinja
