// An open-addressing table over strings in one block.
#include "text/vocabulary.h"

#include <algorithm>
#include <bit>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/hash.h"
#include "text/utf8.h"

namespace shoehorn::text {

std::uint64_t Vocabulary::hash(std::string_view token) {
  return hash_bytes(token);
}

Vocabulary::Vocabulary(const std::vector<VocabEntry>& entries) {
  std::size_t bytes = 0;
  for (const VocabEntry& entry : entries) bytes += entry.token.size();
  if (bytes > 0xFFFFFFFF) throw FormatError("model.vocab: more than 4 GiB of tokens");
  bytes_.reserve(bytes);
  entries_.reserve(entries.size());
  slots_.resize(std::bit_ceil(2 * entries.size() + 2));
  constexpr std::size_t kAhead = 16;  // entries whose slots are fetched beforehand
  std::vector<std::uint64_t> hashes(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) hashes[i] = hash(entries[i].token);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i + kAhead < entries.size()) prefetch(hashes[i + kAhead]);
    const VocabEntry& entry = entries[i];
    max_id_ = std::max(max_id_, entry.id);
    const std::uint32_t known = find_entry(entry.token, hashes[i]);
    const auto index = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back({static_cast<std::uint32_t>(bytes_.size()),
                        static_cast<std::uint32_t>(entry.token.size()), entry.id});
    bytes_.append(entry.token);
    std::size_t slot = slot_of(hashes[i]);
    while (slots_[slot].entry != kNone && slots_[slot].entry != known) {
      slot = (slot + 1) & (slots_.size() - 1);
    }
    slots_[slot] = {static_cast<std::uint32_t>(hashes[i]), index};
    if (known == kNone) ++size_;
  }
  if (!is_valid_utf8(bytes_)) throw FormatError("model.vocab: a token that is not UTF-8");
  index_ids();
}

void Vocabulary::index_ids() {
  if (static_cast<std::size_t>(max_id_) + 1 <= 4 * entries_.size() + 1024) {
    by_id_.assign(static_cast<std::size_t>(max_id_) + 1, kNone);
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
      by_id_[static_cast<std::size_t>(entries_[i].id)] = i;
    }
    return;
  }
  for (std::uint32_t i = 0; i < entries_.size(); ++i) sparse_ids_.emplace_back(entries_[i].id, i);
  std::sort(sparse_ids_.begin(), sparse_ids_.end());
}

std::uint32_t Vocabulary::find_entry(std::string_view token, std::uint64_t hash) const {
  const auto tag = static_cast<std::uint32_t>(hash);
  for (std::size_t slot = slot_of(hash);; slot = (slot + 1) & (slots_.size() - 1)) {
    const Slot& at = slots_[slot];
    if (at.entry == kNone) return kNone;
    if (at.tag == tag && text(entries_[at.entry]) == token) return at.entry;
  }
}

std::optional<std::string_view> Vocabulary::token(std::int32_t id) const {
  if (id < 0) return std::nullopt;
  if (static_cast<std::size_t>(id) < by_id_.size()) {
    const std::uint32_t entry = by_id_[static_cast<std::size_t>(id)];
    if (entry == kNone) return std::nullopt;
    return text(entries_[entry]);
  }
  // The last of equal ids.
  const auto after = std::upper_bound(sparse_ids_.begin(), sparse_ids_.end(), std::pair(id, kNone));
  if (after == sparse_ids_.begin() || std::prev(after)->first != id) return std::nullopt;
  return text(entries_[std::prev(after)->second]);
}

}  // namespace shoehorn::text
