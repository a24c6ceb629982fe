// Set algebra on sorted code point ranges.
#include "text/code_point_set.h"

#include <algorithm>
#include <map>

namespace shoehorn::text {

CodePointSet::CodePointSet(std::span<const Range> ranges) : ranges_(ranges.begin(), ranges.end()) {
  normalize();
}

void CodePointSet::normalize() {
  std::sort(ranges_.begin(), ranges_.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    const Range range = ranges_[i];
    if (kept > 0 && range.first <= ranges_[kept - 1].last + 1) {
      ranges_[kept - 1].last = std::max(ranges_[kept - 1].last, range.last);
    } else {
      ranges_[kept++] = range;
    }
  }
  ranges_.resize(kept);
}

void CodePointSet::add(char32_t first, char32_t last) {
  // Adding in order, the common case, only touches the end of the list.
  if (ranges_.empty() || first > ranges_.back().last + 1) {
    ranges_.push_back({first, last});
  } else if (first >= ranges_.back().first) {
    ranges_.back().last = std::max(ranges_.back().last, last);
  } else {
    ranges_.push_back({first, last});
    normalize();
  }
}

void CodePointSet::unite(const CodePointSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  normalize();
}

void CodePointSet::intersect(const CodePointSet& other) {
  std::vector<Range> result;
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < ranges_.size() && j < other.ranges_.size()) {
    const Range a = ranges_[i];
    const Range b = other.ranges_[j];
    const char32_t first = std::max(a.first, b.first);
    const char32_t last = std::min(a.last, b.last);
    if (first <= last) result.push_back({first, last});
    (a.last < b.last ? i : j) += 1;
  }
  ranges_ = std::move(result);
}

CodePointSet CodePointSet::complement() const {
  CodePointSet result;
  char32_t next = 0;
  for (const Range& range : ranges_) {
    if (range.first > next) result.ranges_.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kMaxCodePoint) result.ranges_.push_back({next, kMaxCodePoint});
  return result;
}

bool CodePointSet::contains(char32_t c) const {
  const auto after =
      std::upper_bound(ranges_.begin(), ranges_.end(), c,
                       [](char32_t value, const Range& r) { return value < r.first; });
  return after != ranges_.begin() && c <= std::prev(after)->last;
}

CodePointBitmap::CodePointBitmap(std::span<const unicode::CodePointRange> ranges)
    : index_((kMaxCodePoint >> 8) + 1, 0), blocks_(1, Block{}) {
  std::map<Block, std::uint16_t> known{{Block{}, 0}};
  std::map<char32_t, Block> filled;  // by code point / 256; whole blocks are rare enough
  for (const auto& range : ranges) {
    for (char32_t c = range.first; c <= range.last;) {
      Block& block = filled.try_emplace(c >> 8, Block{}).first->second;
      const char32_t word_end = std::min<char32_t>(range.last, c | 63);
      const char32_t bits = word_end - c + 1;
      const std::uint64_t mask = bits == 64 ? ~0ULL : (1ULL << bits) - 1;
      block[c >> 6 & 3] |= mask << (c & 63);
      c = word_end + 1;
    }
  }
  for (const auto& [high, block] : filled) {
    const auto [entry, added] =
        known.try_emplace(block, static_cast<std::uint16_t>(blocks_.size()));
    if (added) blocks_.push_back(block);
    index_[high] = entry->second;
  }
}

}  // namespace shoehorn::text
