// An open-addressing table whose slots hold short tokens themselves: one cache line a look-up.
#include "text/vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "shoehorn/error.h"

#include "base/huge_pages.h"
#include "text/hash.h"

namespace shoehorn::text {
namespace {

template <typename T>
T load(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// Up to seven bytes as a number, the first one lowest.
std::uint64_t load_few(const char* p, std::size_t length) {
  if (length >= 4) {
    return load<std::uint32_t>(p) | static_cast<std::uint64_t>(load<std::uint32_t>(p + length - 4))
                                        << 8 * (length - 4);
  }
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < length; ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])) << 8 * i;
  }
  return value;
}

}  // namespace

Vocabulary::Key Vocabulary::key(std::string_view token) {
  Key key;
  if (token.size() > kInlineBytes) {
    key.low = hash_bytes(token);
    key.high = kHashed << 24;
    key.hash = key.low;
    return key;
  }
  const auto length = static_cast<std::uint32_t>(token.size());
  if (length >= 8) {
    key.low = load<std::uint64_t>(token.data());
    key.high = static_cast<std::uint32_t>(load_few(token.data() + 8, length - 8));
  } else {
    key.low = load_few(token.data(), length);
  }
  key.high |= length << 24;
  key.hash = fold_multiply(key.low ^ kHashSeed.flip, key.high ^ kHashSeed.factor);
  return key;
}

Vocabulary::Vocabulary(std::span<const Listed> list, const JsonReader& reader) {
  std::size_t bytes = 0;
  std::int32_t max_id = -1;
  for (const Listed& entry : list) {
    bytes += entry.token.length;
    max_id = std::max(max_id, entry.id);
  }
  if (bytes > 0xFFFFFFFF) throw FormatError("model.vocab: more than 4 GiB of tokens");
  reserve_large(bytes_, bytes);
  reserve_large(entries_, list.size());
  const std::size_t slots = std::bit_ceil(list.size() + list.size() / 2 + 2);
  reserve_large(slots_, slots);
  slots_.resize(slots);
  constexpr std::size_t kBatch = 16;
  Key keys[kBatch];
  for (std::size_t begin = 0; begin < list.size(); begin += kBatch) {
    const std::size_t count = std::min(kBatch, list.size() - begin);
    for (std::size_t i = 0; i < count; ++i) {
      keys[i] = key(reader.view(list[begin + i].token));
      prefetch(keys[i]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const Listed& entry = list[begin + i];
      const std::string_view token = reader.view(entry.token);
      const auto index = static_cast<std::uint32_t>(entries_.size());
      Slot& slot = slots_[find_slot(token, keys[i])];
      if (slot.high == kFree) ++size_;
      const bool hashed = keys[i].high >> 24 == kHashed;
      slot = {keys[i].low, keys[i].high, hashed ? index : static_cast<std::uint32_t>(entry.id)};
      entries_.push_back({static_cast<std::uint32_t>(bytes_.size()),
                          static_cast<std::uint32_t>(token.size()), entry.id});
      bytes_.append(token);
    }
  }
  index_ids(max_id);
}

void Vocabulary::index_ids(std::int32_t max_id) {
  const auto ids = static_cast<std::size_t>(max_id + std::int64_t{1});
  if (ids <= 4 * entries_.size() + 1024) {
    by_id_.assign(ids, kNone);
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
      by_id_[static_cast<std::size_t>(entries_[i].id)] = i;
    }
    return;
  }
  for (std::uint32_t i = 0; i < entries_.size(); ++i) sparse_ids_.emplace_back(entries_[i].id, i);
  std::sort(sparse_ids_.begin(), sparse_ids_.end());
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
