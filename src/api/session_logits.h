// A session as the token loop and speculation see it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "shoehorn/model.h"

#include "generate/speculation.h"

namespace shoehorn {

class SessionLogits final : public CheckingSource {
 public:
  /// `on_card`: a CUDA device computes logits, which stay there where only the likeliest id counts.
  SessionLogits(const Model& model, Session session, bool on_card)
      : model_(model), session_(std::move(session)), on_card_(on_card) {}

  std::span<const float> prefill(std::span<const std::int32_t> ids) override {
    return session_.forward(ids);
  }
  std::span<const float> next(std::int32_t id) override { return session_.forward({&id, 1}); }
  std::optional<std::int32_t> likeliest(std::span<const std::int32_t> ids) override {
    if (!on_card_) return std::nullopt;
    Session* const session = &session_;
    return model_.likeliest({&session, 1}, {&ids, 1}).front();
  }
  std::span<const float> check(std::span<const std::int32_t> ids) override {
    rows_ = session_.forward_all(ids);
    return rows_;
  }
  std::span<const std::int32_t> check_likeliest(std::span<const std::int32_t> ids) override {
    best_ = session_.likeliest_all(ids);
    return best_;
  }
  void truncate(std::size_t length) override {
    session_.truncate(static_cast<std::int64_t>(length));
  }
  std::int64_t capacity() const { return session_.capacity(); }

 private:
  const Model& model_;
  Session session_;
  bool on_card_;
  std::vector<float> rows_;
  std::vector<std::int32_t> best_;
};

}  // namespace shoehorn
