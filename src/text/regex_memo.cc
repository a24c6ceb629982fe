// The sets behind the memo.
#include "text/regex_memo.h"

#include "text/hash.h"

namespace shoehorn::text {

namespace {

constexpr std::size_t kMaxStates = std::size_t{1} << 22;

}  // namespace

std::size_t StateSet::slot_of(std::uint64_t state) const {
  return fold_multiply(state, 0x9E3779B97F4A7C15ULL) & (slots_.size() - 1);
}

void StateSet::clear() {
  if (size_ == 0) return;
  slots_.clear();
  size_ = 0;
}

void StateSet::place(std::uint64_t state) {
  std::size_t at = slot_of(state);
  while (slots_[at] != kFree && slots_[at] != state) at = (at + 1) & (slots_.size() - 1);
  if (slots_[at] == kFree) ++size_;
  slots_[at] = state;
}

void StateSet::insert(std::uint32_t pc, std::size_t position) {
  if (size_ >= kMaxStates) return;
  if (2 * (size_ + 1) > slots_.size()) {
    std::vector<std::uint64_t> old(slots_.empty() ? 64 : 2 * slots_.size(), kFree);
    old.swap(slots_);
    size_ = 0;
    for (const std::uint64_t state : old) {
      if (state != kFree) place(state);
    }
  }
  place(state_of(pc, position));
}

void RegexMemo::clear() {
  failed_.clear();
  succeeded_.clear();
  open_.clear();
}

void RegexMemo::close(std::size_t height, std::size_t opened_before) {
  while (open_.size() > opened_before && open_.back().height >= height) {
    const Choice& choice = open_.back();
    failed_.insert(choice.pc, choice.position);
    if (choice.origin != kNoOrigin) failed_.insert(choice.origin, choice.position);
    open_.pop_back();
  }
}

}  // namespace shoehorn::text
