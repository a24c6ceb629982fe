#include "generate/stop_strings.h"

#include <algorithm>
#include <utility>

#include "shoehorn/error.h"

namespace shoehorn {

StopStrings::Matcher::Matcher(const std::string& string)
    : text(string), fallback(string.size(), 0) {
  std::size_t prefix = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    while (prefix > 0 && text[i] != text[prefix]) prefix = fallback[prefix - 1];
    if (text[i] == text[prefix]) ++prefix;
    fallback[i] = prefix;
  }
}

// Never called on a complete match: that ends the text.
void StopStrings::Matcher::push(char byte) {
  while (length > 0 && byte != text[length]) length = fallback[length - 1];
  if (byte == text[length]) ++length;
}

StopStrings::StopStrings(const std::vector<std::string>& strings) {
  for (const std::string& string : strings) {
    if (string.empty()) throw ArgumentError("a stop string is empty");
    // Cutting before such a string would cut a character.
    if ((static_cast<unsigned char>(string[0]) & 0xC0) == 0x80) {
      throw ArgumentError("a stop string begins inside a UTF-8 character");
    }
    matchers_.emplace_back(string);
  }
}

std::string StopStrings::push(std::string_view piece) {
  if (matched_) return {};
  for (const char byte : piece) {
    held_.push_back(byte);
    std::size_t stop_bytes = 0;
    for (Matcher& matcher : matchers_) {
      matcher.push(byte);
      if (matcher.length == matcher.text.size()) {
        stop_bytes = std::max(stop_bytes, matcher.length);
      }
    }
    if (stop_bytes > 0) {
      matched_ = true;
      held_.resize(held_.size() - stop_bytes);
      return std::exchange(held_, {});
    }
  }
  std::size_t possible_bytes = 0;
  for (const Matcher& matcher : matchers_) {
    possible_bytes = std::max(possible_bytes, matcher.length);
  }
  std::string free = held_.substr(0, held_.size() - possible_bytes);
  held_.erase(0, free.size());
  return free;
}

std::string StopStrings::flush() {
  return std::exchange(held_, {});
}

}  // namespace shoehorn
