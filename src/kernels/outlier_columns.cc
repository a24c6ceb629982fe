#include "kernels/outlier_columns.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace shoehorn {
namespace {

constexpr std::size_t kLine = 64;  // threads write to lines of their own

std::size_t line_bytes(std::size_t bytes) {
  return (bytes + kLine - 1) / kLine * kLine;
}

std::size_t bit_bytes(std::int64_t k) {
  return line_bytes(static_cast<std::size_t>(k) / 8 + 2);
}

}  // namespace

OutlierColumns::OutlierColumns(std::int64_t k, int threads, Workspace& workspace)
    : stride_(bit_bytes(k)),
      bits_(workspace.take<std::uint8_t>(stride_ * static_cast<std::size_t>(threads))),
      columns_(workspace.take<std::int32_t>(static_cast<std::size_t>(k))) {
  std::ranges::fill(bits_, std::uint8_t{0});
}

std::size_t OutlierColumns::workspace_bytes(std::int64_t k, int threads) {
  return bit_bytes(k) * static_cast<std::size_t>(threads) +
         line_bytes(static_cast<std::size_t>(k) * sizeof(std::int32_t));
}

void OutlierColumns::collect() {
  count_ = 0;
  for (std::size_t at = 0; at < stride_; at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    for (std::size_t first = at; first < bits_.size(); first += stride_) {
      std::uint64_t more;
      std::memcpy(&more, bits_.data() + first, sizeof(more));
      word |= more;
    }
    for (; word != 0; word &= word - 1) {
      columns_[count_++] = static_cast<std::int32_t>(at * 8) + std::countr_zero(word);
    }
  }
}

}  // namespace shoehorn
