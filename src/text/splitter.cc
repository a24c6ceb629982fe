// The five behaviours. A match that follows a match is never merged; empty parts take part in the
// merging and vanish afterwards.
#include "text/splitter.h"

#include <string>

#include "base/str_cat.h"

namespace shoehorn::text {

SplitBehavior split_behavior(const JsonValue& config) {
  const std::string& name = config.as_string();
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  config.fail(str_cat("unknown behavior \"", name, "\""));
}

void Splitter::part(std::uint32_t begin, std::uint32_t end, bool is_match) {
  const bool has_part = out_.size() > start_;
  bool joins = false;  // with the part before
  switch (behavior_) {
    case SplitBehavior::kRemoved:
      if (is_match) return;
      break;
    case SplitBehavior::kIsolated: break;
    case SplitBehavior::kMergedWithPrevious: joins = has_part && is_match && !previous_; break;
    case SplitBehavior::kMergedWithNext: joins = has_part && previous_ && !is_match; break;
    case SplitBehavior::kContiguous: joins = has_part && is_match == previous_; break;
  }
  previous_ = is_match;
  if (joins) {
    out_.back().end = end;
  } else {
    out_.push_back({begin, end});
  }
}

void Splitter::drop_empty() {
  std::size_t kept = start_;
  for (std::size_t i = start_; i < out_.size(); ++i) {
    if (out_[i].begin < out_[i].end) out_[kept++] = out_[i];
  }
  out_.resize(kept);
}

}  // namespace shoehorn::text
