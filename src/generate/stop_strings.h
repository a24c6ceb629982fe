// Ends text before a stop string, while the text is still arriving in pieces: what may be the
// beginning of a stop string is held back until it is known not to be.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace shoehorn {

/// Watches for several stop strings at once. The text ends at the stop string that is complete
/// first; of those complete at the same byte, at the longest, so that the output is the same
/// however the text is cut into pieces. Not thread-safe.
class StopStrings {
 public:
  /// Throws ArgumentError for an empty string and for one that begins inside a UTF-8 character.
  explicit StopStrings(const std::vector<std::string>& strings);

  /// The text that is free to go out now that `piece` has arrived; nothing once matched().
  std::string push(std::string_view piece);

  /// What is still held back, at the end of the text; nothing after a match.
  std::string flush();

  /// Whether a stop string has been seen.
  bool matched() const { return matched_; }

 private:
  // The Knuth-Morris-Pratt matcher of one string.
  struct Matcher {
    std::string text;
    std::vector<std::size_t> fallback;  // longest proper prefix of text[0..i] that is its suffix
    std::size_t length = 0;             // longest prefix of `text` that the input ends with

    explicit Matcher(const std::string& string);
    void push(char byte);
  };

  std::vector<Matcher> matchers_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace shoehorn
