#include <algorithm>
#include <numeric>
#include <utility>

#include "shoehorn/error.h"
#include "shoehorn/model.h"

#include "api/session_impl.h"
#include "base/str_cat.h"

namespace shoehorn {

BatchSequence Session::Impl::sequence(std::span<const std::int32_t> ids,
                                      BatchSequence::Logits wanted) {
  if (ids.empty()) throw ArgumentError("a session needs at least one id to go on");
  const auto start = static_cast<std::int32_t>(kv->length());
  positions.resize(ids.size());
  std::iota(positions.begin(), positions.end(), start);
  return {.ids = ids,
          .positions = positions,
          .kv = kv.get(),
          .call_length = start + static_cast<std::int64_t>(ids.size()),
          .logits = wanted,
          .cancelled = cancelled};
}

void Session::Impl::run(std::span<const std::int32_t> ids, BatchSequence::Logits wanted,
                        std::span<float> out) {
  const BatchSequence next = sequence(ids, wanted);
  model->run({&next, 1}, out);
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::span<const float> Session::forward(std::span<const std::int32_t> ids) {
  impl_->run(ids, BatchSequence::Logits::kLast, impl_->logits);
  return impl_->logits;
}

std::vector<float> Session::forward_all(std::span<const std::int32_t> ids) {
  const std::size_t values = ids.size() * impl_->logits.size();
  const auto room = impl_->model->memory().charge(
      Device{}, values * sizeof(float),
      str_cat("the logits of ", ids.size(), " positions (fewer at once take less)"));
  std::vector<float> logits(values);
  impl_->run(ids, BatchSequence::Logits::kAll, logits);
  return logits;
}

std::vector<std::int32_t> Session::likeliest_all(std::span<const std::int32_t> ids) {
  std::vector<std::int32_t> best(ids.size());
  const BatchSequence next = impl_->sequence(ids, BatchSequence::Logits::kAll);
  impl_->model->run_likeliest({&next, 1}, best);
  if (std::ranges::find(best, -1) != best.end()) {
    throw Error("the model's logits hold no number to choose a token by");
  }
  return best;
}

std::int64_t Session::position() const {
  return impl_->kv->length();
}
std::int64_t Session::capacity() const {
  return impl_->kv->capacity();
}

void Session::cancel_by(const std::atomic<bool>* flag) {
  impl_->cancelled = flag;
}

void Session::truncate(std::int64_t position) {
  if (position < 0 || position > impl_->kv->length()) {
    throw ArgumentError(
        str_cat("cannot go back to position ", position, " of ", impl_->kv->length()));
  }
  impl_->kv->truncate(position);
}

}  // namespace shoehorn
