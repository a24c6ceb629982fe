#include "tensor/shape.h"

#include <algorithm>
#include <cassert>

#include "shoehorn/error.h"

#include "base/checked.h"
#include "base/str_cat.h"

namespace shoehorn {

Shape::Shape(std::span<const std::int64_t> dims) : rank_(dims.size()) {
  if (dims.size() > kMaxRank) {
    throw ArgumentError(str_cat("a shape of ", dims.size(), " dimensions; at most ", kMaxRank));
  }
  for (const std::int64_t dim : dims) {
    if (dim < 0) throw ArgumentError(str_cat("a shape with the negative dimension ", dim));
  }
  std::ranges::copy(dims, dims_.begin());
}

std::optional<std::int64_t> Shape::checked_elements() const {
  // [0, 2^62, 2^62] has no elements, but nothing sane has such a shape: report it as an overflow.
  std::optional<std::int64_t> product = 1;
  bool empty = false;
  for (const std::int64_t dim : *this) {
    empty = empty || dim == 0;
    product = checked_mul(*product, std::max<std::int64_t>(dim, 1));
    if (!product) return std::nullopt;
  }
  return empty ? 0 : product;
}

std::int64_t Shape::elements() const {
  const auto product = checked_elements();
  assert(product);
  return *product;
}

bool operator==(const Shape& a, const Shape& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (const std::int64_t dim : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(dim);
  }
  return text + "]";
}

}  // namespace shoehorn
