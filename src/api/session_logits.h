// A session as the token loop and speculation see it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "shoehorn/model.h"

#include "generate/speculation.h"

namespace shoehorn {

/// A session of its own, or one of the caller's that holds the beginning of the prompt.
class SessionLogits final : public CheckingSource {
 public:
  /// `on_card`: a CUDA device computes logits, which stay there where only the likeliest id counts.
  SessionLogits(const Model& model, Session&& session, bool on_card)
      : model_(model), own_(std::move(session)), session_(&*own_), on_card_(on_card) {
    session_->cancel_by(&stopped_);
  }
  SessionLogits(const Model& model, Session& session, bool on_card)
      : model_(model), session_(&session), cached_(session.position()), on_card_(on_card) {
    session_->cancel_by(&stopped_);
  }
  ~SessionLogits() override { session_->cancel_by(nullptr); }
  SessionLogits(const SessionLogits&) = delete;
  SessionLogits& operator=(const SessionLogits&) = delete;

  std::span<const float> prefill(std::span<const std::int32_t> ids) override {
    return session_->forward(uncached(ids));
  }
  std::span<const float> next(std::int32_t id) override { return session_->forward({&id, 1}); }
  std::optional<std::int32_t> likeliest(std::span<const std::int32_t> ids) override {
    if (!on_card_) return std::nullopt;
    const std::span<const std::int32_t> fresh = prefilled_ ? ids : uncached(ids);
    return model_.likeliest({&session_, 1}, {&fresh, 1}).front();
  }
  std::span<const float> check(std::span<const std::int32_t> ids) override {
    rows_ = session_->forward_all(ids);
    return rows_;
  }
  std::span<const std::int32_t> check_likeliest(std::span<const std::int32_t> ids) override {
    best_ = session_->likeliest_all(ids);
    return best_;
  }
  void truncate(std::size_t length) override {
    session_->truncate(static_cast<std::int64_t>(length));
  }
  std::int64_t capacity() const { return session_->capacity(); }
  std::int64_t position() const { return session_->position(); }
  std::int64_t cached() const { return cached_; }
  /// A pass that is running ends by a CancelledError.
  void stop() { stopped_.store(true, std::memory_order_relaxed); }

 private:
  /// Of a prompt, what the session does not hold.
  std::span<const std::int32_t> uncached(std::span<const std::int32_t> prompt) {
    prefilled_ = true;
    return prompt.subspan(static_cast<std::size_t>(cached_));
  }

  const Model& model_;
  std::optional<Session> own_;
  Session* session_;
  std::int64_t cached_ = 0;
  bool prefilled_ = false;
  bool on_card_;
  std::atomic<bool> stopped_{false};
  std::vector<float> rows_;
  std::vector<std::int32_t> best_;
};

}  // namespace shoehorn
