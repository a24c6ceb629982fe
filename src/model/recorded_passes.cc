#include "model/recorded_passes.h"

#include <cstring>

namespace shoehorn {
namespace {

// Above this many rows a pass takes so long that its launches do not matter.
constexpr std::int64_t kMostRows = 64;
// Each keeps some memory of the card; a server with ever new batches must not collect them for
// ever.
constexpr std::size_t kMostRecordings = 64;

}  // namespace

bool RecordedPasses::run(const Pass& pass, const std::function<void()>& forward,
                         const PassResult& result) {
  if (pass.rows() > kMostRows || pass.most_rows() != 1) return false;
  const Shape shape{.rows = pass.rows(),
                    .wanted = static_cast<std::int64_t>(pass.wanted().size()),
                    .positions = pass.most_positions(),
                    .likeliest = !result.likeliest.empty()};
  const std::span<std::byte> target = result.likeliest.empty()
                                          ? std::as_writable_bytes(result.logits)
                                          : std::as_writable_bytes(result.likeliest);
  cuda::Queue& queue = *runtime_.on(device_).queue;
  const auto found = recordings_.find(shape);
  if (found == recordings_.end()) {
    if (recordings_.size() >= kMostRecordings) {
      queue.synchronize();
      recordings_.clear();
    }
    recordings_.try_emplace(shape);
    return false;
  }
  Recording& recording = found->second;
  if (!recording.graph) {
    recording.result = cuda::PinnedMemory(target.size());
    runtime_.set_recorded_output(recording.result.bytes());
    try {
      recording.graph = std::make_unique<cuda::Graph>(queue, forward);
    } catch (...) {
      runtime_.set_recorded_output({});
      throw;
    }
    runtime_.set_recorded_output({});
  }
  recording.graph->launch(queue);
  queue.synchronize();
  if (!target.empty()) std::memcpy(target.data(), recording.result.data(), target.size());
  return true;
}

}  // namespace shoehorn
