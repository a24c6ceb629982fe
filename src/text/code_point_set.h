// Sets of Unicode code points: as sorted ranges for set algebra, as a bitmap for fast lookup.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "text/unicode_tables.h"

namespace shoehorn::text {

inline constexpr char32_t kMaxCodePoint = 0x10FFFF;

/// A value type; ranges are sorted and neither overlap nor touch.
class CodePointSet {
 public:
  using Range = unicode::CodePointRange;

  CodePointSet() = default;
  explicit CodePointSet(std::span<const Range> ranges);

  void add(char32_t first, char32_t last);
  void add(char32_t c) { add(c, c); }
  void unite(const CodePointSet& other);
  void intersect(const CodePointSet& other);
  /// All code points that are not in it.
  CodePointSet complement() const;

  bool contains(char32_t c) const;
  bool empty() const { return ranges_.empty(); }
  std::span<const Range> ranges() const { return ranges_; }

 private:
  void normalize();

  std::vector<Range> ranges_;
};

/// Membership in two loads. Immutable, thread-safe.
class CodePointBitmap {
 public:
  CodePointBitmap() = default;
  explicit CodePointBitmap(std::span<const unicode::CodePointRange> ranges);

  bool contains(char32_t c) const {
    const Block& block = blocks_[index_[c >> 8]];
    return block[c >> 6 & 3] >> (c & 63) & 1;
  }

 private:
  using Block = std::array<std::uint64_t, 4>;
  std::vector<std::uint16_t> index_;
  std::vector<Block> blocks_;
};

}  // namespace shoehorn::text
