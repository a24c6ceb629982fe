#include "base/checksum.h"

#include <array>
#include <bit>
#include <cstring>

namespace shoehorn {
namespace {

constexpr std::size_t kLanes = 8;
constexpr std::size_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kBlock = kLanes * kWord;

// Each step is one to one in the state and in the word, so that no later word can hide a change of
// an earlier one.
std::uint64_t step(std::uint64_t state, std::uint64_t word) {
  return std::rotl((state ^ word) * 0x9e3779b97f4a7c15U, 31);  // 2^64 over the golden ratio, odd
}

}  // namespace

std::uint64_t checksum(std::span<const std::byte> bytes) {
  std::array<std::uint64_t, kLanes> lanes = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::uint64_t length = bytes.size();
  std::array<std::uint64_t, kLanes> words{};
  while (bytes.size() >= kBlock) {
    std::memcpy(words.data(), bytes.data(), kBlock);
    for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = step(lanes[i], words[i]);
    bytes = bytes.subspan(kBlock);
  }
  words = {};
  if (!bytes.empty()) std::memcpy(words.data(), bytes.data(), bytes.size());
  for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = step(lanes[i], words[i]);
  std::uint64_t all = length;
  for (const std::uint64_t lane : lanes) all = step(all, lane);
  // High bits reach the low ones.
  return (all ^ (all >> 29)) * 0x9e3779b97f4a7c15U;
}

}  // namespace shoehorn
