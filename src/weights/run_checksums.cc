#include "weights/run_checksums.h"

#include <array>
#include <bit>
#include <cstring>

namespace shoehorn {

namespace {

/// With any state, another word gives another state, and the other way round: the factor is odd.
constexpr std::uint64_t mixed(std::uint64_t lane, std::uint64_t word) {
  return std::rotl(lane ^ word, 29) * 0x9E3779B97F4A7C15U;
}

std::uint64_t word_at(const std::byte* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

}  // namespace

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  constexpr std::size_t kStep = 8 * kWord;
  // Named one by one, so that they stay in registers: a product takes longer than a cycle, eight
  // that do not wait for each other take one each.
  std::uint64_t a = bytes.size(), b = 1, c = 2, d = 3, e = 4, f = 5, g = 6, h = 7;
  const auto step = [&](const std::byte* at) {
    a = mixed(a, word_at(at));
    b = mixed(b, word_at(at + kWord));
    c = mixed(c, word_at(at + 2 * kWord));
    d = mixed(d, word_at(at + 3 * kWord));
    e = mixed(e, word_at(at + 4 * kWord));
    f = mixed(f, word_at(at + 5 * kWord));
    g = mixed(g, word_at(at + 6 * kWord));
    h = mixed(h, word_at(at + 7 * kWord));
  };
  std::size_t at = 0;
  for (; at + kStep <= bytes.size(); at += kStep) step(bytes.data() + at);
  std::array<std::byte, kStep> rest{};
  if (at < bytes.size()) std::memcpy(rest.data(), bytes.data() + at, bytes.size() - at);
  step(rest.data());
  std::uint64_t sum = 0;
  for (const std::uint64_t lane : {a, b, c, d, e, f, g, h}) sum = mixed(sum, lane);
  return sum ^ (sum >> 32);
}

bool RunChecksums::check(std::size_t run, std::span<const std::byte> bytes) {
  if (run >= sums_.size()) sums_.resize(run + 1);
  const std::uint64_t sum = checksum_of(bytes);
  if (!sums_[run]) sums_[run] = sum;
  return sums_[run] == sum;
}

}  // namespace shoehorn
