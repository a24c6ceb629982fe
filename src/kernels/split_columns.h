// Takes apart what one matrix computed side by side: queries, keys and values, or gate and up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

inline constexpr std::size_t kMostSplitParts = 4;

/// A row of x is `groups` runs, each the parts' shares one after the other:
///   parts[p][m, g, :] = x[m, g, the p-th share]
///
///   x         [rows, groups, sum of the shares]  float32
///   parts[p]  [rows, groups, its share]          not overlapping x; its size gives the share
///
/// Queries, keys and values stacked one after the other are one group; GPT-NeoX has one a head,
/// Falcon one for each key-value head. Throws ArgumentError if sizes disagree or there are more
/// parts than kMostSplitParts.
void split_columns(std::span<const float> x, std::int64_t rows, std::int64_t groups,
                   std::initializer_list<std::span<float>> parts, ExecContext& ctx);

}  // namespace shoehorn
