// Tokens and their ids, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_file.h"

namespace shoehorn::text {

/// Owns its strings; immutable, thread-safe.
class Vocabulary {
 public:
  Vocabulary() = default;
  /// Of equal tokens the last id counts, of equal ids the last token. Throws FormatError if a token
  /// is not UTF-8.
  explicit Vocabulary(const std::vector<VocabEntry>& entries);

  std::optional<std::int32_t> find(std::string_view token) const {
    const std::uint32_t entry = find_entry(token, hash(token));
    if (entry == kNone) return std::nullopt;
    return entries_[entry].id;
  }
  std::optional<std::string_view> token(std::int32_t id) const;
  /// Different tokens.
  std::size_t size() const { return size_; }
  std::int32_t max_id() const { return max_id_; }

  /// For many look-ups in a row: the hash first, `prefetch` some time before `find_hashed`.
  static std::uint64_t hash(std::string_view token);
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&slots_[slot_of(hash)]); }
  std::optional<std::int32_t> find_hashed(std::string_view token, std::uint64_t hash) const {
    const std::uint32_t entry = find_entry(token, hash);
    if (entry == kNone) return std::nullopt;
    return entries_[entry].id;
  }

 private:
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;
  struct Entry {
    std::uint32_t offset;
    std::uint32_t length;
    std::int32_t id;
  };
  struct Slot {
    std::uint32_t tag = 0;
    std::uint32_t entry = kNone;
  };

  std::size_t slot_of(std::uint64_t hash) const { return (hash >> 32) & (slots_.size() - 1); }
  std::string_view text(const Entry& entry) const {
    return std::string_view(bytes_).substr(entry.offset, entry.length);
  }
  std::uint32_t find_entry(std::string_view token, std::uint64_t hash) const;
  void index_ids();

  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_ = std::vector<Slot>(1);
  std::size_t size_ = 0;
  std::int32_t max_id_ = -1;
  // id -> entry: a table where the ids are dense, else a sorted list of (id, entry).
  std::vector<std::uint32_t> by_id_;
  std::vector<std::pair<std::int32_t, std::uint32_t>> sparse_ids_;
};

}  // namespace shoehorn::text
