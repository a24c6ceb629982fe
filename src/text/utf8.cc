// Decoding of possibly ill-formed UTF-8 and encoding of single characters.
#include "text/utf8.h"

#include <cstdint>
#include <cstring>

namespace shoehorn::text {

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    const char bytes[] = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    out.append(bytes, 2);
  } else if (c < 0x10000) {
    const char bytes[] = {static_cast<char>(0xE0 | c >> 12),
                          static_cast<char>(0x80 | (c >> 6 & 0x3F)),
                          static_cast<char>(0x80 | (c & 0x3F))};
    out.append(bytes, 3);
  } else {
    const char bytes[] = {
        static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)),
        static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
    out.append(bytes, 4);
  }
}

std::size_t count_characters(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += !is_continuation(c);
  return count;
}

Utf8Sequence scan_utf8(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80) return {Utf8Sequence::kCharacter, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Utf8Sequence::kInvalid, 1};
  const std::size_t length = sequence_length(bytes[0]);
  // The second byte has a narrower range after some lead bytes: no overlong forms, no surrogates,
  // nothing above U+10FFFF.
  unsigned low = 0x80;
  unsigned high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Utf8Sequence::kIncomplete, i};
    if (at(i) < low || at(i) > high) return {Utf8Sequence::kInvalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Utf8Sequence::kCharacter, length};
}

namespace {

// 2 or 3 where so many bytes from `p` on are a character of the kinds that texts are mostly made of
// beside ASCII; else 0, which means "look closer". Three bytes are there.
std::size_t short_sequence(const char* p) {
  const auto at = [p](int i) { return static_cast<unsigned>(static_cast<unsigned char>(p[i])); };
  const unsigned lead = at(0);
  if (lead >= 0xC2 && lead < 0xE0 && (at(1) & 0xC0) == 0x80) return 2;
  const bool plain = lead > 0xE0 && lead < 0xF0 && lead != 0xED;  // any second byte will do
  return plain && (at(1) & 0xC0) == 0x80 && (at(2) & 0xC0) == 0x80 ? 3 : 0;
}

// Length of the valid UTF-8 that `bytes` starts with; eight ASCII bytes at a time where possible.
std::size_t valid_prefix(std::string_view bytes) {
  std::size_t i = 0;
  while (i < bytes.size()) {
    if (i + 8 <= bytes.size()) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data() + i, 8);
      if ((word & 0x8080808080808080ULL) == 0) {
        i += 8;
        continue;
      }
    }
    if (i + 3 <= bytes.size()) {
      if (const std::size_t length = short_sequence(bytes.data() + i)) {
        i += length;
        continue;
      }
    }
    const Utf8Sequence next = scan_utf8(bytes.substr(i));
    if (next.kind != Utf8Sequence::kCharacter) return i;
    i += next.length;
  }
  return i;
}

}  // namespace

bool is_valid_utf8(std::string_view bytes) {
  return valid_prefix(bytes) == bytes.size();
}

void drain_utf8_lossy(std::string& pending, std::string& out) {
  std::string_view rest = pending;
  while (!rest.empty()) {
    const std::size_t valid = valid_prefix(rest);
    out.append(rest.substr(0, valid));
    rest.remove_prefix(valid);
    if (rest.empty()) break;
    const Utf8Sequence next = scan_utf8(rest);
    if (next.kind == Utf8Sequence::kIncomplete) break;
    out.append(kReplacementUtf8);
    rest.remove_prefix(next.length);
  }
  pending.erase(0, pending.size() - rest.size());
}

std::string utf8_lossy(std::string_view bytes) {
  std::string pending(bytes);
  std::string out;
  out.reserve(bytes.size());
  drain_utf8_lossy(pending, out);
  if (!pending.empty()) out.append(kReplacementUtf8);
  return out;
}

}  // namespace shoehorn::text
