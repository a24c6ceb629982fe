#include "weights/run_checksums.h"

#include <array>
#include <bit>
#include <cstring>

namespace shoehorn {

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
  // Odd factors: with any state, another word gives another state, and the other way round.
  constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15U;
  std::array<std::uint64_t, 4> lanes = {bytes.size(), 1, 2, 3};
  const auto mix = [](std::uint64_t& lane, std::uint64_t word) {
    lane = std::rotl(lane ^ word, 29) * kFactor;
  };
  std::size_t at = 0;
  for (; at + sizeof(lanes) <= bytes.size(); at += sizeof(lanes)) {
    std::array<std::uint64_t, 4> words;
    std::memcpy(words.data(), bytes.data() + at, sizeof(words));
    for (std::size_t i = 0; i < lanes.size(); ++i) mix(lanes[i], words[i]);
  }
  std::array<std::uint64_t, 4> rest{};
  if (at < bytes.size()) std::memcpy(rest.data(), bytes.data() + at, bytes.size() - at);
  for (std::size_t i = 0; i < lanes.size(); ++i) mix(lanes[i], rest[i]);
  std::uint64_t sum = 0;
  for (const std::uint64_t lane : lanes) mix(sum, lane);
  return sum ^ (sum >> 32);
}

bool RunChecksums::check(std::size_t run, std::span<const std::byte> bytes) {
  if (run >= sums_.size()) sums_.resize(run + 1);
  const std::uint64_t sum = checksum_of(bytes);
  if (!sums_[run]) sums_[run] = sum;
  return sums_[run] == sum;
}

}  // namespace shoehorn
