#include "kernels/linear_pieces.h"

namespace shoehorn {
namespace {

// The smallest piece: two microseconds of reading. Less makes handing out cost, more makes the last
// piece late.
constexpr std::size_t kLeastPieceBytes = 32 * 1024;
// Below this the caller's own core is done before another one has noticed.
constexpr std::size_t kAloneBytes = 48 * 1024;

}  // namespace

std::size_t weight_row_bytes(const WeightView& weight) {
  if (!weight.form.is_quantized()) return packed_bytes(weight.form.dtype, weight.shape[1]).value();
  const auto rows = static_cast<std::size_t>(std::max(weight.shape[0], std::int64_t{1}));
  return form_bytes(weight.form, weight.shape).value() / rows;
}

RowPieces::RowPieces(std::span<const LinearTask> tasks, int threads) : tasks_(tasks.size()) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < tasks_; ++i) {
    outputs_[i] = tasks[i].weight->shape[0];
    first_group_[i + 1] = first_group_[i] + (outputs_[i] + kRowGroup - 1) / kRowGroup;
    bytes += static_cast<std::size_t>(outputs_[i]) * weight_row_bytes(*tasks[i].weight);
  }
  const std::int64_t groups = first_group_[tasks_];
  begin_[0] = 0;
  if (bytes <= kAloneBytes || threads == 1) {
    count_ = 1;
    begin_[1] = groups;
    return;
  }
  const std::size_t group_bytes = bytes / static_cast<std::size_t>(groups) + 1;
  const std::int64_t least = static_cast<std::int64_t>(kLeastPieceBytes / group_bytes) + 1;
  for (std::int64_t at = 0; at < groups;) {
    const std::int64_t share = (groups - at) / (2 * threads);
    at = std::min(groups, at + std::max(share, least));
    if (static_cast<std::size_t>(count_) + 1 == kMost) at = groups;
    begin_[static_cast<std::size_t>(++count_)] = at;
  }
}

}  // namespace shoehorn
