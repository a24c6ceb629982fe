// The logits of the table model that tests/data/generate/make_goldens.py recorded: for tests.
#pragma once

#include <cstdint>
#include <vector>

namespace shoehorn {

/// Logits [vocab] after token `previous`, of which `distinct` different values occur: formula() of
/// the script.
inline std::vector<float> table_logits(std::int64_t previous, std::int64_t vocab,
                                       std::int64_t distinct) {
  std::vector<float> logits;
  for (std::int64_t i = 0; i < vocab; ++i) {
    const std::uint64_t place = static_cast<std::uint64_t>(previous * vocab + i + 1);
    const std::uint64_t hash = (place * 2654435761U) & 0xFFFFFFFFU;
    const std::uint64_t level = (hash * static_cast<std::uint64_t>(distinct)) >> 32;
    logits.push_back(static_cast<float>(
        static_cast<double>(level) * 16.0 / static_cast<double>(distinct) - 8.0));
  }
  return logits;
}

}  // namespace shoehorn
