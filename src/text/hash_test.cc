#include "text/hash.h"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace shoehorn::text {
namespace {

constexpr std::uint64_t kLowBits = 0xFFF;

// Pairs that meet in the low bits where the seed is known.
std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs_that_meet() {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  for (std::uint32_t left = 0; pairs.size() < 1000; ++left) {
    for (std::uint32_t right = 0; right < 4096; ++right) {
      const std::uint64_t pair = static_cast<std::uint64_t>(left) << 32 | right;
      if ((fold_multiply(pair, 0x9E3779B97F4A7C15ULL) & kLowBits) == 0) {
        pairs.emplace_back(left, right);
      }
    }
  }
  return pairs;
}

TEST(Hash, PairsChosenForAnotherSeedDoNotMeet) {
  std::set<std::uint64_t> slots;
  const auto pairs = pairs_that_meet();
  for (const auto& [left, right] : pairs) slots.insert(hash_pair(left, right) & kLowBits);
  EXPECT_GT(slots.size(), pairs.size() / 2);
}

TEST(Hash, OfBytesDependsOnEachAndOnTheLength) {
  std::set<std::uint64_t> hashes;
  std::string text(40, 'a');
  for (std::size_t length = 0; length <= text.size(); ++length) {
    hashes.insert(hash_bytes(std::string_view(text).substr(0, length)));
  }
  EXPECT_EQ(hashes.size(), text.size() + 1);
  for (char& byte : text) {
    byte = 'b';
    hashes.insert(hash_bytes(text));
    byte = 'a';
  }
  EXPECT_EQ(hashes.size(), 2 * text.size() + 1);
  EXPECT_EQ(hash_bytes(text), hash_bytes(std::string(40, 'a')));
}

}  // namespace
}  // namespace shoehorn::text
