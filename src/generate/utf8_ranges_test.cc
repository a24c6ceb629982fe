#include "generate/utf8_ranges.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

std::string encoded(char32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  std::string out;
  const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  out += static_cast<char>((more == 1 ? 0xC0 : more == 2 ? 0xE0 : 0xF0) | (c >> (6 * more)));
  for (int i = more - 1; i >= 0; --i) {
    out += static_cast<char>(0x80 | ((c >> (6 * i)) & 0x3F));
  }
  return out;
}

int matches(const std::vector<std::vector<ByteRange>>& sequences, const std::string& bytes) {
  int count = 0;
  for (const auto& sequence : sequences) {
    bool fits = sequence.size() == bytes.size();
    for (std::size_t i = 0; fits && i < bytes.size(); ++i) {
      const auto byte = static_cast<std::uint8_t>(bytes[i]);
      fits = byte >= sequence[i].first && byte <= sequence[i].second;
    }
    count += fits ? 1 : 0;
  }
  return count;
}

TEST(Utf8Ranges, MatchEveryCharacterOfTheRangeOnceAndNoOther) {
  const std::vector<CodePointRange> ranges = {
      {0, kLastCodePoint}, {'a', 'z'},        {0x70, 0x90},     {0x7FF, 0x800},
      {0xD000, 0xE100},    {0xFFF0, 0x10010}, {0x3A9, 0x12345}, {0x10FFFF, 0x10FFFF}};
  for (const auto& [low, high] : ranges) {
    const auto sequences = utf8_ranges(low, high);
    for (char32_t c = 0; c <= kLastCodePoint; c += (c % 4096 < 300 || c < 0x1000 ? 1 : 61)) {
      const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
      const bool inside = c >= low && c <= high && !surrogate;
      ASSERT_EQ(matches(sequences, encoded(c)), inside ? 1 : 0)
          << std::hex << std::uint32_t{low} << "-" << std::uint32_t{high} << " "
          << std::uint32_t{c};
    }
  }
}

TEST(Complement, IsWhatTheRangesLeave) {
  EXPECT_THAT(complement({{'b', 'c'}, {'a', 'b'}, {'e', 'e'}}),
              ElementsAre(Pair(0, 'a' - 1), Pair('d', 'd'), Pair('f', kLastCodePoint)));
  EXPECT_THAT(complement({}), ElementsAre(Pair(0, kLastCodePoint)));
  EXPECT_THAT(complement({{0, kLastCodePoint}}), ElementsAre());
}

}  // namespace
}  // namespace shoehorn
