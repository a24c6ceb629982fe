#include "generate/sampler.h"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <limits>

#include "shoehorn/error.h"

#include "generate/portable_exp.h"

namespace shoehorn {

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53;
  constexpr std::uint64_t kMultiplier1 = 0xCD9E8D57;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = kMultiplier0 * counter[0];
    const std::uint64_t product1 = kMultiplier1 * counter[2];
    counter = {static_cast<std::uint32_t>(product1 >> 32) ^ counter[1] ^ key[0],
               static_cast<std::uint32_t>(product1),
               static_cast<std::uint32_t>(product0 >> 32) ^ counter[3] ^ key[1],
               static_cast<std::uint32_t>(product0)};
    key[0] += 0x9E3779B9;  // the golden ratio and sqrt(3) - 1: Weyl sequences
    key[1] += 0xBB67AE85;
  }
  return counter;
}

std::int32_t greedy_token(std::span<const float> logits) {
  // The maximum first, over lanes that become vectors, then its place. NaN compares as not larger.
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> largest;
  largest.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float logit = logits[i + lane];
      largest[lane] = logit > largest[lane] ? logit : largest[lane];
    }
  }
  for (; i < logits.size(); ++i) largest[0] = logits[i] > largest[0] ? logits[i] : largest[0];

  const float value = *std::max_element(largest.begin(), largest.end());
  const auto found = std::find(logits.begin(), logits.end(), value);
  if (found == logits.end()) throw Error("the model's logits hold no number to choose a token by");
  return static_cast<std::int32_t>(found - logits.begin());
}

std::int32_t Sampler::draw(std::span<const Candidate> candidates) {
  assert(!candidates.empty());
  float largest = candidates[0].logit;
  for (const Candidate& candidate : candidates) largest = std::max(largest, candidate.logit);
  double total = 0;
  for (const Candidate& candidate : candidates) total += portable_exp(candidate.logit - largest);

  const double target = uniform(draws_++) * total;
  double sum = 0;
  for (const Candidate& candidate : candidates) {
    sum += portable_exp(candidate.logit - largest);
    if (sum > target) return candidate.id;
  }
  // Not reached: the sums are the same, and target < total since u < 1 leaves room for rounding.
  return candidates.back().id;
}

double Sampler::uniform(std::uint64_t draw) const {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  const auto words = philox4x32({low(draw), high(draw), low(sequence_), high(sequence_)},
                                {low(seed_), high(seed_)});
  const std::uint64_t bits = (std::uint64_t{words[1]} << 32) | words[0];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace shoehorn
