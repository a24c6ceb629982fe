#include "plan/pass_timeline.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace shoehorn {

double steady_pass_s(std::span<const TimelineStep> steps, std::size_t ring_bytes,
                     double latency_s) {
  // The first passes fill the ring; the rhythm is there after two.
  constexpr int kPasses = 6;
  constexpr int kFillingPasses = 2;
  std::deque<std::pair<std::size_t, double>> held;  // bytes of the ring, and until when
  std::size_t used = 0;
  double drive_free = 0;
  double asked = 0;  // when the newest read was
  double processor_free = 0;
  double filled = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    if (pass == kFillingPasses) filled = processor_free;
    for (const TimelineStep& step : steps) {
      double ready = 0;
      if (step.ring_bytes > 0) {
        while (!held.empty() && used + step.ring_bytes > ring_bytes) {
          used -= held.front().first;
          asked = std::max(asked, held.front().second);
          held.pop_front();
        }
        drive_free = std::max(drive_free, asked + latency_s) + step.read_s;
        ready = drive_free;
      }
      processor_free = std::max(processor_free, ready) + step.compute_s;
      if (step.ring_bytes > 0) {
        held.emplace_back(step.ring_bytes, processor_free);
        used += step.ring_bytes;
      }
    }
  }
  return (processor_free - filled) / (kPasses - kFillingPasses);
}

}  // namespace shoehorn
