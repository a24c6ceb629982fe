// Copies parts of rows or heads from one layout to another.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/exec_context.h"

namespace shoehorn {

/// Where parts lie: from entry `first` of runs of `width` values.
struct Runs {
  std::int64_t width;
  std::int64_t first;
};

/// Entries target.first .. target.first + count - 1 of run i of `to` become those from source.first
/// on of run i / share of `from`: what each head of a row has of its own (share 1), or what all
/// `share` heads of a row have of it. Float32, not overlapping. Throws ArgumentError where a part
/// is not within its run, or `from` has no such run.
void copy_runs(std::span<const float> from, Runs source, std::span<float> to, Runs target,
               std::int64_t count, std::int64_t share, ExecContext& ctx);

}  // namespace shoehorn
