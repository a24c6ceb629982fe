#include "checkpoint/tensor_info.h"

#include <algorithm>

namespace shoehorn {

bool is_row_major(const Shape& shape, std::span<const std::int64_t> strides) {
  if (std::ranges::find(shape, 0) != shape.end()) return true;
  std::int64_t expected = 1;
  for (std::size_t i = shape.rank(); i-- > 0;) {
    const std::int64_t size = shape[static_cast<int>(i)];
    if (size != 1 && strides[i] != expected) return false;
    expected *= size;
  }
  return true;
}

}  // namespace shoehorn
