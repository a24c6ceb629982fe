// Ranges of characters as ranges of the bytes that UTF-8 writes them in.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace shoehorn {

using ByteRange = std::pair<std::uint8_t, std::uint8_t>;
using CodePointRange = std::pair<char32_t, char32_t>;

inline constexpr char32_t kLastCodePoint = 0x10FFFF;

/// Sequences of byte ranges that together match exactly the UTF-8 forms of [low, high], surrogates
/// left out.
std::vector<std::vector<ByteRange>> utf8_ranges(char32_t low, char32_t high);

/// Everything outside `ranges`.
std::vector<CodePointRange> complement(std::vector<CodePointRange> ranges);

}  // namespace shoehorn
