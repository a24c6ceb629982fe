// Remembers the ids of short pieces: in running text most of them have been seen before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace shoehorn::text {

/// Fixed size; a new piece displaces an old one. Not thread-safe.
class PieceCache {
 public:
  static constexpr std::size_t kMaxBytes = 15;
  static constexpr std::size_t kMaxIds = 3;

  /// A piece of up to kMaxBytes bytes, packed.
  struct Key {
    std::uint64_t low = 0;
    std::uint64_t high = 0;  // the length in the highest byte
  };
  /// `piece` is text[begin, end) of at most kMaxBytes bytes.
  static Key key(std::string_view text, std::size_t begin, std::size_t end);

  /// Appends the ids of the piece if it is known.
  bool find(const Key& key, std::vector<std::int32_t>& ids) {
    Slot* set = &slots_[set_of(key)];
    if (set[0].key.low != key.low || set[0].key.high != key.high) {
      if (set[1].key.low != key.low || set[1].key.high != key.high) return false;
      std::swap(set[0], set[1]);
    }
    const Slot& slot = set[0];
    ids.insert(ids.end(), slot.ids, slot.ids + slot.count);
    return true;
  }
  /// Does nothing if there are more than kMaxIds ids.
  void insert(const Key& key, const std::int32_t* ids, std::size_t count);

 private:
  struct Slot {
    Key key;  // the length 0xFF: free
    std::int32_t ids[kMaxIds];
    std::uint32_t count;
  };
  static_assert(sizeof(Slot) == 32, "a set of two fills a cache line");
  static constexpr std::size_t kSets = 1 << 15;

  static std::size_t set_of(const Key& key);

  std::vector<Slot> slots_ = std::vector<Slot>(2 * kSets, Slot{{0, ~std::uint64_t{0}}, {}, 0});
};

}  // namespace shoehorn::text
