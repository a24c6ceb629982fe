#include "load_progress.h"

#include <iostream>

namespace shoehorn::cli {

void LoadProgress::update(const std::string& what, std::uint64_t done, std::uint64_t total) {
  const std::lock_guard lock(mutex_);
  if (line_ == nullptr || what != what_) {
    const auto unit =
        what == "loading" || what == "fetching" ? ProgressUnit::kBytes : ProgressUnit::kTokens;
    line_.reset();
    line_ = std::make_unique<Progress>(what, total, unit);
    what_ = what;
  }
  line_->set(done);
  if (done >= total) line_->finish();
}

void LoadProgress::note(const std::string& text) {
  const std::lock_guard lock(mutex_);
  line_.reset();
  std::cerr << "note: " << text << '\n';
}

}  // namespace shoehorn::cli
