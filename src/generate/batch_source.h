// What several sequences that advance together need of a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shoehorn {

/// New ids of one sequence.
struct SequenceStep {
  std::size_t slot = 0;               // which sequence's memory
  std::size_t keep = 0;               // ids of it that stay; what comes after is forgotten
  std::span<const std::int32_t> ids;  // not empty
};

class BatchLogitsSource {
 public:
  virtual ~BatchLogitsSource() = default;
  /// Takes the ids of all steps, each of another slot; the logits [steps, vocab] after the last id
  /// of each, valid until the next call.
  virtual std::span<const float> run(std::span<const SequenceStep> steps) = 0;
};

}  // namespace shoehorn
