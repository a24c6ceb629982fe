// What one pass computes: new tokens of one or several sequences, side by side as rows.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "model/kv_cache.h"

namespace shoehorn {

struct BatchSequence {
  std::span<const std::int32_t> ids;        // new tokens
  std::span<const std::int32_t> positions;  // one for each
  KvCache* kv = nullptr;                    // holds the tokens before them
  /// One past the largest position of the call these tokens are part of: a long prompt comes in
  /// several passes, and dynamic rotary scaling depends on the length of all of it.
  std::int64_t call_length = 0;
  /// Positions of `kv` before these tokens, set when a call is cut into passes: an earlier pass's
  /// may not have been counted by the cache yet.
  std::int64_t start = 0;
  /// Logits of every token, or of the last one, or (a pass in the midst of a prompt) of none.
  enum class Logits { kNone, kLast, kAll } logits = Logits::kLast;
  /// Once true, nobody waits for this sequence any more; may be null.
  const std::atomic<bool>* cancelled = nullptr;
};

struct Batch {
  std::vector<BatchSequence> sequences;

  std::int64_t rows() const {
    std::int64_t rows = 0;
    for (const BatchSequence& sequence : sequences) {
      rows += static_cast<std::int64_t>(sequence.ids.size());
    }
    return rows;
  }

  /// The rows whose logits are wanted, in order.
  std::vector<std::int64_t> logits_rows() const {
    std::vector<std::int64_t> wanted;
    std::int64_t row = 0;
    for (const BatchSequence& sequence : sequences) {
      const auto count = static_cast<std::int64_t>(sequence.ids.size());
      using Logits = BatchSequence::Logits;
      const std::int64_t from = sequence.logits == Logits::kAll ? 0 : count - 1;
      if (sequence.logits != Logits::kNone) {
        for (std::int64_t i = from; i < count; ++i) wanted.push_back(row + i);
      }
      row += count;
    }
    return wanted;
  }
};

}  // namespace shoehorn
