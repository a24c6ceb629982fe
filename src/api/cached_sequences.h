// The model behind sequences that advance together: a KV cache for every slot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "generate/batch_source.h"
#include "generate/sequence.h"
#include "model/loaded_model.h"

namespace shoehorn {

/// Borrows the model. Not thread-safe.
class CachedSequences final : public BatchLogitsSource {
 public:
  explicit CachedSequences(const LoadedModel& model);
  /// A slot for each capacity.
  CachedSequences(const LoadedModel& model, const std::vector<std::int64_t>& capacities);

  /// Gives a slot an empty cache in place of the one it had, and makes it where there is none.
  /// Throws DeviceError where there is no room.
  void open(std::size_t slot, std::int64_t capacity);
  /// Gives a slot's memory back.
  void close(std::size_t slot) { caches_[slot].reset(); }

  std::span<const float> run(std::span<const SequenceStep> steps) override;

  std::size_t vocab() const { return vocab_; }

 private:
  const LoadedModel& model_;
  std::size_t vocab_;
  std::vector<std::unique_ptr<KvCache>> caches_;
  std::vector<float> logits_;
};

/// One sequence of a batch, and the slot with its memory.
struct BatchMember {
  std::size_t prompt;
  std::size_t slot;
  GeneratedSequence sequence;
  std::string text = {};

  bool goes_on() const { return !sequence.finish_reason(); }
  /// What there is, ended or not: kCancelled then.
  Completion completion();
};

/// A token for every sequence that goes on; what was run before is in its slot's cache.
void advance_all(std::span<const std::unique_ptr<BatchMember>> members, CachedSequences& source);

}  // namespace shoehorn
