// How the streamed weights of a group lie in memory: what follows one another in a file stays
// together and is read in place, the rest is brought through scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "weights/byte_ring.h"
#include "weights/weight_group.h"

namespace shoehorn {

/// Weights that lie in memory as one run.
struct StreamChunk {
  RingChunk ring;
  /// The run of a file that is read to its beginning; null: none.
  const File* file = nullptr;
  std::uint64_t offset = 0;
  std::size_t in_place_bytes = 0;

  struct Weight {
    std::size_t index = 0;  // in its group
    std::size_t at = 0;     // in the chunk
    std::size_t bytes = 0;  // read in place, from its first byte on
    bool whole = false;     // these are all it is made of
  };
  std::vector<Weight> weights;
};

struct StreamLayout {
  std::vector<StreamChunk> chunks;
  std::vector<RingChunk> ring;  // theirs

  std::size_t bytes() const { return ByteRing::bytes_of(ring); }
};

/// Of the group's streamed weights.
StreamLayout stream_layout(const Checkpoint& checkpoint, const WeightGroup& group);

}  // namespace shoehorn
