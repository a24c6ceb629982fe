// UTF-8 at the level of single characters. Inside src/text every string is valid UTF-8: what comes
// from outside passes through utf8_lossy or is_valid_utf8 once, at the door.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace shoehorn::text {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;
/// U+FFFD in UTF-8.
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

/// Bytes of the character that starts with `lead`, a lead byte of valid UTF-8.
inline std::size_t sequence_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte < 0x80) return 1;
  if (byte < 0xE0) return 2;
  return byte < 0xF0 ? 3 : 4;
}

inline bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

/// The character at `p` and, in `length`, its bytes. Valid UTF-8 is required.
inline char32_t decode_utf8(const char* p, std::size_t& length) {
  const auto byte = [p](int i) { return static_cast<char32_t>(static_cast<unsigned char>(p[i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) {
    length = 1;
    return lead;
  }
  if (lead < 0xE0) {
    length = 2;
    return (lead & 0x1F) << 6 | (byte(1) & 0x3F);
  }
  if (lead < 0xF0) {
    length = 3;
    return (lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  }
  length = 4;
  return (lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
}

/// Start of the character that ends at `position` (> 0) of valid UTF-8.
inline std::size_t previous_character(std::string_view text, std::size_t position) {
  do --position;
  while (is_continuation(text[position]));
  return position;
}

/// Appends one Unicode scalar value.
void append_utf8(std::string& out, char32_t code_point);

/// Number of characters in valid UTF-8.
std::size_t count_characters(std::string_view text);

/// What the first bytes of a byte string are.
struct Utf8Sequence {
  enum Kind { kCharacter, kIncomplete, kInvalid };
  Kind kind = kInvalid;
  /// Bytes of the character, of the incomplete tail (all that there is), or of the maximal subpart
  /// that becomes one U+FFFD.
  std::size_t length = 0;
};

/// Looks at the start of `bytes`, which is not empty (Unicode 16, section 3.9, table 3-7).
Utf8Sequence scan_utf8(std::string_view bytes);

bool is_valid_utf8(std::string_view bytes);

/// `bytes` with each maximal subpart of an ill-formed sequence replaced by U+FFFD.
std::string utf8_lossy(std::string_view bytes);

/// Appends to `out` what the start of `pending` certainly means and leaves in `pending` only an
/// incomplete last character (at most three bytes).
void drain_utf8_lossy(std::string& pending, std::string& out);

}  // namespace shoehorn::text
