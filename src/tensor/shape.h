// Shapes in storage order: the last dimension is contiguous.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

namespace shoehorn {

/// Up to kMaxRank non-negative dimensions, by value.
class Shape {
 public:
  static constexpr std::size_t kMaxRank = 8;

  Shape() = default;
  /// Throws ArgumentError for a negative dimension or more than kMaxRank of them.
  Shape(std::initializer_list<std::int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const std::int64_t> dims);

  std::size_t rank() const { return rank_; }
  /// Dimension i; negative i counts from the end. i must be in range.
  std::int64_t operator[](int i) const {
    return dims_[static_cast<std::size_t>(i < 0 ? i + static_cast<int>(rank_) : i)];
  }
  const std::int64_t* begin() const { return dims_.data(); }
  const std::int64_t* end() const { return dims_.data() + rank_; }

  /// Product of the dimensions (1 for a scalar); nothing if it does not fit 63 bits.
  std::optional<std::int64_t> checked_elements() const;
  /// The same where the shape is known to be sane.
  std::int64_t elements() const;

  friend bool operator==(const Shape& a, const Shape& b);

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  std::size_t rank_ = 0;
};

/// "[4096, 11008]".
std::string to_string(const Shape& shape);

}  // namespace shoehorn
