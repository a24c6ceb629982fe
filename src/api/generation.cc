#include "shoehorn/generation.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <span>
#include <utility>

#include "shoehorn/error.h"
#include "shoehorn/model.h"

#include "api/generation_request.h"
#include "api/model_impl.h"
#include "base/memory_status.h"
#include "base/str_cat.h"
#include "generate/token_loop.h"

namespace shoehorn {
namespace {

/// A session as the token loop sees it: its own, or one of the caller's that holds the beginning of
/// the prompt.
class SessionLogits final : public LogitsSource {
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
  std::int64_t capacity() const { return session_->capacity(); }
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
};

}  // namespace

struct Generation::Impl {
  const Model* model;
  SessionLogits source;
  TokenLoop loop;
  std::uint64_t disk_bytes_before;
  double disk_wait_before;
  std::uint64_t disk_bytes_after_prefill = 0;
  const LoadedModel* loaded;
  std::vector<GroupTime> groups_after_prefill = {};
  bool done = false;

  /// `session`: a Session of its own, or a Session& of the caller's.
  template <typename SessionOrReference>
  Impl(const Model& of, const LoadedModel& loaded, SessionOrReference&& session,
       const Tokenizer* tokenizer, std::span<const std::int32_t> ids,
       const GenerationConfig& config, std::unique_ptr<TokenConstraint> constraint)
      : model(&of),
        source(of, std::forward<SessionOrReference>(session), loaded.head_on_card()),
        loop(source, tokenizer, ids, config, std::move(constraint)),
        disk_bytes_before(loaded.weights().stream_stats().bytes_read),
        disk_wait_before(loaded.weights().stream_stats().wait_s),
        loaded(&loaded) {}
};

Generation::Generation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Generation::~Generation() = default;
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&&) noexcept = default;

bool Generation::next(std::string& piece) {
  piece.clear();
  while (!impl_->done && piece.empty()) {
    try {
      impl_->done = !impl_->loop.step(piece);
    } catch (const CancelledError&) {
      // In the midst of a pass, which left no trace: the loop ends before its next step.
      impl_->loop.cancel();
      impl_->done = !impl_->loop.step(piece);
    }
    if (impl_->loop.result().ids.size() == 1) {
      impl_->disk_bytes_after_prefill = impl_->model->disk_bytes_read();
      impl_->groups_after_prefill = impl_->loaded->weights().group_times();
    }
  }
  return !piece.empty();
}

void Generation::cancel() {
  impl_->loop.cancel();
  impl_->source.stop();
}
const std::vector<std::int32_t>& Generation::ids() const {
  return impl_->loop.result().ids;
}
const std::string& Generation::text() const {
  return impl_->loop.result().text;
}
const std::vector<TokenLogprob>& Generation::logprobs() const {
  return impl_->loop.logprobs();
}
FinishReason Generation::finish_reason() const {
  return impl_->loop.result().finish_reason;
}

namespace {

std::vector<GroupUse> groups_since(const std::vector<GroupTime>& before,
                                   const WeightStore& weights) {
  std::vector<GroupUse> groups;
  if (before.empty()) return groups;
  const std::vector<GroupTime> now = weights.group_times();
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (now[i].passes == before[i].passes) continue;
    groups.push_back({.group = weights.groups()[i].name,
                      .passes = now[i].passes - before[i].passes,
                      .wait_s = now[i].wait_s - before[i].wait_s,
                      .busy_s = now[i].busy_s - before[i].busy_s});
  }
  return groups;
}

}  // namespace

RunStats Generation::stats() const {
  const TokenLoopResult& result = impl_->loop.result();
  const Model& model = *impl_->model;
  RunStats stats;
  stats.load_s = model.load_s();
  stats.ttft_s = result.ttft_s;
  stats.prefill_tok_s = result.prefill_tok_s();
  stats.decode_tok_s = result.decode_tok_s();
  stats.prompt_tokens = result.prompt_tokens;
  stats.cached_tokens = impl_->source.cached();
  if (stats.cached_tokens > 0) {
    stats.prefill_tok_s *=
        1 - static_cast<double>(stats.cached_tokens) /
                static_cast<double>(std::max<std::int64_t>(result.prompt_tokens, 1));
  }
  stats.new_tokens = static_cast<std::int64_t>(result.ids.size());
  stats.disk_bytes = model.disk_bytes_read() - impl_->disk_bytes_before;
  if (result.ids.size() > 1) {
    stats.disk_bytes_per_token =
        static_cast<double>(model.disk_bytes_read() - impl_->disk_bytes_after_prefill) /
        static_cast<double>(result.ids.size() - 1);
  }
  stats.disk_wait_s = model.disk_wait_s() - impl_->disk_wait_before;
  stats.weight_bytes = model.weight_bytes();
  stats.predicted_peak_bytes = model.predicted_peak_bytes(
      impl_->source.capacity(),
      std::max<std::int64_t>(result.prompt_tokens - stats.cached_tokens, 1));
  stats.measured_peak_bytes = process_memory().peak_rss_bytes;
  stats.groups = groups_since(impl_->groups_after_prefill, impl_->loaded->weights());
  return stats;
}

std::vector<std::int32_t> Model::encode_prompt(std::string_view prompt) const {
  if (impl_->tokenizer == nullptr) {
    throw UnsupportedError(str_cat(impl_->loaded->checkpoint().path().string(),
                                   ": has no tokenizer; give token ids (--ids) in place of text"));
  }
  return impl_->tokenizer->encode(prompt).ids;
}

Generation Model::generate(std::string_view prompt, const GenerateOptions& options) const {
  return generate(encode_prompt(prompt), options);
}

namespace {

/// Throws ArgumentError where `config` asks for more than one sequence.
void check_one_sequence(const GenerationConfig& config) {
  if (config.num_beams > 1 || config.num_return_sequences > 1) {
    // Where the options do not say so, generation_config.json does; room for several sequences has
    // to be planned before the model is loaded.
    throw ArgumentError(str_cat("this generation has num_beams ", config.num_beams,
                                " and num_return_sequences ", config.num_return_sequences,
                                ", and generate() makes one sequence: complete() makes all; `run` "
                                "takes --num-beams and --num-return-sequences, 1 for one"));
  }
}

}  // namespace

Generation Model::generate(std::span<const std::int32_t> ids,
                           const GenerateOptions& options) const {
  const GenerationConfig config = generation_request(impl_->generation_config, options);
  check_one_sequence(config);
  const auto prompt = std::max<std::int64_t>(static_cast<std::int64_t>(ids.size()), 1);
  const GenerationConfig bounded = within_context(config, prompt, max_context());
  const std::int64_t positions = std::min(max_context(), prompt + config.max_new_tokens);
  return Generation(std::make_unique<Generation::Impl>(
      *this, *impl_->loaded, new_session(positions), impl_->tokenizer.get(), ids, bounded,
      output_constraint(options, config, impl_->tokenizer.get(), vocab_size())));
}

Generation Model::generate(Session& session, std::span<const std::int32_t> ids,
                           const GenerateOptions& options) const {
  const GenerationConfig config = generation_request(impl_->generation_config, options);
  check_one_sequence(config);
  const auto prompt = static_cast<std::int64_t>(ids.size());
  if (session.position() >= std::max<std::int64_t>(prompt, 1)) {
    throw ArgumentError(str_cat("the session holds ", session.position(),
                                " positions of a prompt of ", prompt,
                                "; at least the last id has to be new"));
  }
  const GenerationConfig bounded =
      within_context(config, std::max<std::int64_t>(prompt, 1), session.capacity());
  return Generation(std::make_unique<Generation::Impl>(
      *this, *impl_->loaded, session, impl_->tokenizer.get(), ids, bounded,
      output_constraint(options, config, impl_->tokenizer.get(), vocab_size())));
}

}  // namespace shoehorn
