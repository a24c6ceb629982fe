#include "generate/utf8_ranges.h"

#include <algorithm>
#include <array>

namespace shoehorn {
namespace {

constexpr std::array<char32_t, 4> kLastOfLength = {0x7F, 0x7FF, 0xFFFF, kLastCodePoint};
constexpr CodePointRange kSurrogates = {0xD800, 0xDFFF};

std::vector<std::uint8_t> encode(char32_t c, int length) {
  constexpr std::array<std::uint8_t, 5> kLead = {0, 0, 0xC0, 0xE0, 0xF0};
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(length));
  for (int i = length - 1; i > 0; --i) {
    bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(0x80 | (c & 0x3F));
    c >>= 6;
  }
  bytes[0] = static_cast<std::uint8_t>(kLead[static_cast<std::size_t>(length)] | c);
  return bytes;
}

/// [low, high] have the same length; splits until every byte runs over a range of its own.
void add(char32_t low, char32_t high, int length, std::vector<std::vector<ByteRange>>& out) {
  for (int i = 1; i < length; ++i) {
    const char32_t mask = (char32_t{1} << (6 * i)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      add(low, low | mask, length, out);
      return add((low | mask) + 1, high, length, out);
    }
    if ((high & mask) != mask) {
      add(low, (high & ~mask) - 1, length, out);
      return add(high & ~mask, high, length, out);
    }
  }
  const auto first = encode(low, length);
  const auto last = encode(high, length);
  std::vector<ByteRange>& sequence = out.emplace_back();
  for (std::size_t i = 0; i < first.size(); ++i) sequence.emplace_back(first[i], last[i]);
}

}  // namespace

std::vector<std::vector<ByteRange>> utf8_ranges(char32_t low, char32_t high) {
  std::vector<std::vector<ByteRange>> out;
  char32_t first = 0;
  for (std::size_t i = 0; i < kLastOfLength.size(); ++i) {
    const int length = static_cast<int>(i) + 1;
    const char32_t from = std::max(low, first);
    const char32_t to = std::min(high, kLastOfLength[i]);
    first = kLastOfLength[i] + 1;
    if (from > to) continue;
    if (from <= kSurrogates.second && to >= kSurrogates.first) {
      if (from < kSurrogates.first) add(from, kSurrogates.first - 1, length, out);
      if (to > kSurrogates.second) add(kSurrogates.second + 1, to, length, out);
    } else {
      add(from, to, length, out);
    }
  }
  return out;
}

std::vector<CodePointRange> complement(std::vector<CodePointRange> ranges) {
  std::ranges::sort(ranges);
  std::vector<CodePointRange> out;
  char32_t next = 0;
  for (const auto& [low, high] : ranges) {
    if (low > next) out.emplace_back(next, low - 1);
    next = std::max<char32_t>(next, high + 1);
  }
  if (next <= kLastCodePoint) out.emplace_back(next, kLastCodePoint);
  return out;
}

}  // namespace shoehorn
