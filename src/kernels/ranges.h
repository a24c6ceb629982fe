// Splits a loop over many alike items into contiguous ranges for the pool, or keeps it on the
// calling thread where a fork and join (about a microsecond) would cost more than it saves.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/thread_pool.h"

namespace shoehorn {

/// Calls body(begin, end, thread) for ranges that cover 0..items-1. `grain`: items worth about ten
/// microseconds; fewer than two grains run as one range on the caller.
template <typename Body>
void for_ranges(ThreadPool& pool, std::int64_t items, std::int64_t grain, const Body& body) {
  if (items <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  if (pool.threads() == 1 || items < 2 * grain) {
    body(std::int64_t{0}, items, 0);
    return;
  }
  // Eight ranges a thread even out a core that is busy elsewhere.
  const std::int64_t most = std::int64_t{8} * pool.threads();
  const std::int64_t pieces = std::min(most, (items + grain - 1) / grain);
  pool.parallel_for(pieces, [&](std::int64_t piece, int thread) {
    body(items * piece / pieces, items * (piece + 1) / pieces, thread);
  });
}

}  // namespace shoehorn
