#include "model/pass_flight.h"

#include "shoehorn/cancelled.h"

#include "model/adapter.h"
#include "model/blocks.h"

namespace shoehorn {
namespace {

/// The residual streams of a flight. They are given back in the reverse of the order in which they
/// were taken, as workspaces ask.
class Residuals {
 public:
  Residuals(const std::deque<Pass>& passes, std::int64_t hidden_size, Runtime& runtime) {
    for (const Pass& pass : passes) {
      rows_.emplace_back(runtime, pass.rows() * hidden_size, runtime.group_device(0));
    }
  }
  ~Residuals() {
    while (!rows_.empty()) rows_.pop_back();
  }
  Residuals(const Residuals&) = delete;
  Residuals& operator=(const Residuals&) = delete;

  void move_to(Device device) {
    for (ActivationRow& row : rows_) row.move_to(device);
  }
  std::span<float> operator[](std::size_t pass) { return rows_[pass].span(); }

 private:
  std::deque<ActivationRow> rows_;
};

/// The part of a result that belongs to `count` wanted rows from `first` on.
PassResult part_of(const PassResult& result, std::size_t first, std::size_t count,
                   std::size_t vocab) {
  if (!result.likeliest.empty()) return {{}, result.likeliest.subspan(first, count)};
  return {result.logits.subspan(first * vocab, count * vocab), {}};
}

/// Throws CancelledError where nobody waits for any sequence.
void check_cancelled(const std::deque<Pass>& passes) {
  for (const Pass& pass : passes) {
    for (const BatchSequence& sequence : pass.batch().sequences) {
      if (sequence.cancelled == nullptr || !sequence.cancelled->load()) return;
    }
  }
  throw CancelledError("the pass was cancelled");
}

}  // namespace

PassFlight::PassFlight(std::span<const Batch> batches, const Architecture& architecture,
                       Runtime& runtime)
    : architecture_(architecture), runtime_(runtime) {
  for (const Batch& batch : batches) architecture.check_positions(batch);
  for (const Batch& batch : batches) {
    passes_.emplace_back(batch, architecture.rotary_tables(batch), architecture.alibi_slopes(),
                         runtime);
    wanted_ += passes_.back().wanted().size();
  }
}

PassFlight::~PassFlight() {
  while (!passes_.empty()) passes_.pop_back();
}

std::size_t PassFlight::residual_bytes(std::int64_t rows, std::int64_t pass_rows,
                                       std::int64_t hidden_size) {
  constexpr std::size_t kAlignment = 64;  // of what is taken from a workspace
  if (rows <= pass_rows) return 0;
  const auto others = static_cast<std::size_t>(rows - pass_rows);
  const std::size_t passes = others / static_cast<std::size_t>(pass_rows) + 1;
  return others * static_cast<std::size_t>(hidden_size) * sizeof(float) + passes * kAlignment;
}

void PassFlight::forward(WeightStore& weights, const PassResult& result) const {
  const DecoderShape& shape = architecture_.shape();
  const auto layers = static_cast<std::int64_t>(shape.layers.size());
  AdapterSet* const adapters = runtime_.adapters();
  Residuals x(passes_, shape.hidden_size, runtime_);
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    architecture_.embed_tokens(passes_[i], weights, x[i], runtime_.group_device(0), runtime_);
  }
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    const auto group = static_cast<std::size_t>(layer + 1);
    const Device device = runtime_.group_device(group);
    x.move_to(device);
    const WeightStore::Lease w = weights.take(group, runtime_.on(device).queue);
    if (adapters != nullptr) adapters->begin_group(group, w);
    for (std::size_t i = 0; i < passes_.size(); ++i) {
      check_cancelled(passes_);
      architecture_.decoder_layer(w, layer, passes_[i], x[i], device, runtime_);
    }
    if (adapters != nullptr) adapters->end_group();
  }
  if (!wants_result()) return;
  const auto head = static_cast<std::size_t>(layers + 1);
  const Device device = runtime_.group_device(head);
  x.move_to(device);
  const WeightStore::Lease w = weights.take(head, runtime_.on(device).queue);
  if (adapters != nullptr) adapters->begin_group(head, w);
  std::size_t done = 0;
  for (std::size_t i = 0; i < passes_.size(); ++i) {
    const std::size_t count = passes_[i].wanted().size();
    if (count == 0) continue;
    const auto part = part_of(result, done, count, static_cast<std::size_t>(shape.vocab_size));
    architecture_.head(w, passes_[i], x[i], part, device, runtime_);
    done += count;
  }
  if (adapters != nullptr) adapters->end_group();
}

}  // namespace shoehorn
