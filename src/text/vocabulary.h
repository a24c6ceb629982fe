// Tokens and their ids, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/json_reader.h"

namespace shoehorn::text {

/// Owns its strings; immutable, thread-safe.
class Vocabulary {
 public:
  /// A token as the table looks for it: up to 11 bytes as they are, longer ones by their hash.
  struct Key {
    std::uint64_t low = 0;
    std::uint32_t high = 0;  // bytes 8 to 10, and the length in the highest byte; 0xFF: hashed
    std::uint64_t hash = 0;
  };

  /// A token as a file lists it.
  struct Listed {
    JsonReader::String token;
    std::int32_t id;
  };

  Vocabulary() = default;
  /// Of equal tokens the last id counts, of equal ids the last token. `reader` read the list.
  Vocabulary(std::span<const Listed> list, const JsonReader& reader);

  std::optional<std::int32_t> find(std::string_view token) const { return find(token, key(token)); }
  std::optional<std::string_view> token(std::int32_t id) const;
  /// Different tokens.
  std::size_t size() const { return size_; }

  /// For many look-ups in a row: the key first, `prefetch` some time before `find`.
  static Key key(std::string_view token);
  void prefetch(const Key& key) const { __builtin_prefetch(&slots_[slot_of(key)]); }
  std::optional<std::int32_t> find(std::string_view token, const Key& key) const {
    const Slot& slot = slots_[find_slot(token, key)];
    if (slot.high == kFree) return std::nullopt;
    return slot.high >> 24 == kHashed ? entries_[slot.value].id
                                      : static_cast<std::int32_t>(slot.value);
  }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  static constexpr std::uint32_t kHashed = 0xFF;      // as length of a key
  static constexpr std::uint32_t kFree = 0xFE000000;  // `high` of a slot that is not in use
  static constexpr std::size_t kInlineBytes = 11;
  struct Entry {
    std::uint32_t offset;
    std::uint32_t length;
    std::int32_t id;
  };
  struct Slot {
    std::uint64_t low = 0;
    std::uint32_t high = kFree;
    std::uint32_t value = 0;  // the id, or the entry of a token that is too long for the slot
  };

  std::size_t slot_of(const Key& key) const { return key.hash & (slots_.size() - 1); }
  std::string_view text(const Entry& entry) const {
    return std::string_view{bytes_}.substr(entry.offset, entry.length);
  }
  // The slot that holds the token, or the free one where it belongs.
  std::size_t find_slot(std::string_view token, const Key& key) const {
    for (std::size_t at = slot_of(key);; at = (at + 1) & (slots_.size() - 1)) {
      const Slot& slot = slots_[at];
      if (slot.low == key.low && slot.high == key.high &&
          (key.high >> 24 != kHashed || text(entries_[slot.value]) == token)) {
        return at;
      }
      if (slot.high == kFree) return at;
    }
  }
  void index_ids(std::int32_t max_id);

  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_ = std::vector<Slot>(1);
  std::size_t size_ = 0;
  // id -> entry: a table where the ids are dense, else a sorted list of (id, entry).
  std::vector<std::uint32_t> by_id_;
  std::vector<std::pair<std::int32_t, std::uint32_t>> sparse_ids_;
};

}  // namespace shoehorn::text
