#include "kernels/linear_four_bit_int8.h"

namespace shoehorn {

bool takes_int8_rows(const WeightView& /*weight*/) {
  return false;
}

void linear_four_bit_int8(std::span<const LinearTask> /*tasks*/, std::span<const float> /*x*/,
                          std::int64_t /*rows*/, ExecContext& /*ctx*/) {}

std::size_t linear_four_bit_int8_workspace_bytes(std::int64_t /*rows*/, std::int64_t /*k*/,
                                                 int /*threads*/) {
  return 0;
}

}  // namespace shoehorn
