// What a drive that reads ahead and a processor that computes make of a pass together.
#pragma once

#include <cstddef>
#include <span>

namespace shoehorn {

/// One group of weights in the order of a pass.
struct TimelineStep {
  double compute_s = 0;
  double read_s = 0;           // by the drive; 0: nothing of it is streamed
  std::size_t ring_bytes = 0;  // that it takes of the ring from the first byte read to the last use
};

/// Seconds a pass takes once many follow each other: the drive reads the streamed groups in order,
/// around the end into the next pass, as soon as the ring has room; the processor takes them in
/// order as soon as they are read. A group larger than the ring is read when the ring is empty.
/// `latency_s` passes from when a read is asked for to its first byte; others go on meanwhile.
double steady_pass_s(std::span<const TimelineStep> steps, std::size_t ring_bytes,
                     double latency_s = 0);

}  // namespace shoehorn
