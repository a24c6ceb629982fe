// Packing and hashing of keys; sets of two slots, the more recent one first.
#include "text/piece_cache.h"

#include <algorithm>
#include <cstring>

#include "text/hash.h"

namespace shoehorn::text {

PieceCache::Key PieceCache::key(std::string_view text, std::size_t begin, std::size_t end) {
  Key key;
  const std::size_t length = end - begin;
  if (begin + 16 <= text.size()) {
    std::memcpy(&key.low, text.data() + begin, 8);
    std::memcpy(&key.high, text.data() + begin + 8, 8);
    if (length <= 8) {
      key.high = 0;
      if (length < 8) key.low &= (std::uint64_t{1} << 8 * length) - 1;
    } else {
      key.high &= (std::uint64_t{1} << 8 * (length - 8)) - 1;
    }
  } else {
    char bytes[16] = {};
    std::memcpy(bytes, text.data() + begin, length);
    std::memcpy(&key.low, bytes, 8);
    std::memcpy(&key.high, bytes + 8, 8);
  }
  key.high |= static_cast<std::uint64_t>(length) << 56;
  return key;
}

std::size_t PieceCache::set_of(const Key& key) {
  const std::uint64_t hash =
      fold_multiply(key.low ^ 0x9E3779B97F4A7C15ULL, key.high ^ 0xD6E8FEB86659FD93ULL);
  return 2 * (hash & (kSets - 1));
}

void PieceCache::insert(const Key& key, const std::int32_t* ids, std::size_t count) {
  if (count > kMaxIds) return;
  Slot* set = &slots_[set_of(key)];
  set[1] = set[0];
  set[0].key = key;
  set[0].count = static_cast<std::uint32_t>(count);
  std::copy(ids, ids + count, set[0].ids);
}

}  // namespace shoehorn::text
