// The merges of byte pair encoding: which pairs of tokens join, in what order, to what.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "text/hash.h"
#include "text/tokenizer_file.h"
#include "text/vocabulary.h"

namespace shoehorn::text {

/// Immutable, thread-safe. A hash table of half a million entries for a large model.
class MergeTable {
 public:
  static constexpr std::uint32_t kNoRank = 0xFFFFFFFF;
  struct Merge {
    std::int32_t left;
    std::int32_t right;
    std::uint32_t rank;  // position in the file; kNoRank: a free slot
    std::int32_t id;     // what they join to
  };

  /// The second token of a merge loses `prefix` when it is joined. Of equal pairs the last one
  /// counts. Throws FormatError for merges whose parts or result are not in the vocabulary.
  MergeTable(const TokenizerFile& file, const Vocabulary& vocabulary, std::string_view prefix);

  const Merge* find(std::int32_t left, std::int32_t right) const {
    for (std::size_t at = slot_of(left, right);; at = (at + 1) & (slots_.size() - 1)) {
      const Merge& merge = slots_[at];
      if (merge.left == left && merge.right == right) return &merge;
      if (merge.rank == kNoRank) return nullptr;
    }
  }

  template <typename Visit>
  void for_each(const Visit& visit) const {
    for (const Merge& merge : slots_) {
      if (merge.rank != kNoRank) visit(merge);
    }
  }

 private:
  class Builder;

  std::size_t slot_of(std::int32_t left, std::int32_t right) const {
    return hash_pair(static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(right)) &
           (slots_.size() - 1);
  }
  void insert(const Merge& merge);

  std::vector<Merge> slots_;
};

}  // namespace shoehorn::text
