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

/// Immutable, thread-safe. The merges in their order, and a hash table of their numbers: most pairs
/// that are asked for do not join, which the table alone tells.
class MergeTable {
 public:
  static constexpr std::uint32_t kNoRank = 0xFFFFFFFF;
  struct Merge {
    std::int32_t left;
    std::int32_t right;
    std::int32_t id;  // what they join to
  };
  struct Found {
    std::uint32_t rank = kNoRank;  // position in the file; kNoRank: they do not join
    std::int32_t id = -1;
  };

  /// The second token of a merge loses `prefix` when it is joined. Of equal pairs the last one
  /// counts. Throws FormatError for merges whose parts or result are not in the vocabulary.
  MergeTable(const TokenizerFile& file, const Vocabulary& vocabulary, std::string_view prefix);

  Found find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t hash = hash_of(left, right);
    const std::uint32_t tag = tag_of(hash);
    for (std::size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      const std::uint32_t slot = slots_[at];
      if (slot == kFree) return {};
      if ((slot & ~kIndexMask) != tag) continue;
      const Merge& merge = merges_[slot & kIndexMask];
      if (joins(merge, left, right)) return {slot & kIndexMask, merge.id};
    }
  }

  /// In the order of the file, of equal pairs all.
  const std::vector<Merge>& merges() const { return merges_; }

 private:
  class Resolver;

  // A slot: the number of a merge, and above it bits of the hash of its pair.
  static constexpr std::uint32_t kIndexMask = (1U << 22) - 1;
  static constexpr std::uint32_t kFree = 0xFFFFFFFF;

  static std::uint64_t hash_of(std::int32_t left, std::int32_t right) {
    return hash_pair(static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(right));
  }
  static std::uint32_t tag_of(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash >> 32) & ~kIndexMask;
  }
  static bool joins(const Merge& merge, std::int32_t left, std::int32_t right) {
    return merge.left == left && merge.right == right;
  }
  void insert(std::size_t i, std::uint64_t hash);

  std::vector<Merge> merges_;
  std::vector<std::uint32_t> slots_;
};

}  // namespace shoehorn::text
