#include "shoehorn/generation.h"

#include <algorithm>
#include <span>
#include <utility>

#include "shoehorn/error.h"
#include "shoehorn/model.h"

#include "api/model_impl.h"
#include "base/memory_status.h"
#include "base/str_cat.h"
#include "generate/token_loop.h"

namespace shoehorn {
namespace {

/// A session as the token loop sees it.
class SessionLogits final : public LogitsSource {
 public:
  explicit SessionLogits(Session session) : session_(std::move(session)) {}

  std::span<const float> prefill(std::span<const std::int32_t> ids) override {
    return session_.forward(ids);
  }
  std::span<const float> next(std::int32_t id) override { return session_.forward({&id, 1}); }
  std::int64_t capacity() const { return session_.capacity(); }

 private:
  Session session_;
};

GenerationOverrides overrides_from(const GenerateOptions& options) {
  GenerationOverrides overrides;
  overrides.max_new_tokens = options.max_new_tokens;
  overrides.do_sample = options.do_sample;
  overrides.temperature = options.temperature;
  overrides.top_k = options.top_k;
  overrides.top_p = options.top_p;
  overrides.min_p = options.min_p;
  overrides.repetition_penalty = options.repetition_penalty;
  overrides.seed = options.seed;
  if (!options.stop_strings.empty()) overrides.stop_strings = options.stop_strings;
  if (options.ignore_eos) overrides.ignore_eos = true;
  return overrides;
}

}  // namespace

struct Generation::Impl {
  const Model* model;
  SessionLogits source;
  TokenLoop loop;
  std::uint64_t disk_bytes_before;
  double disk_wait_before;
  std::uint64_t disk_bytes_after_prefill = 0;
  bool done = false;

  Impl(const Model& of, Session session, const Tokenizer* tokenizer,
       std::span<const std::int32_t> ids, GenerationConfig config, const StreamStats& before)
      : model(&of),
        source(std::move(session)),
        loop(source, tokenizer, ids, std::move(config)),
        disk_bytes_before(before.bytes_read),
        disk_wait_before(before.wait_s) {}
};

Generation::Generation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Generation::~Generation() = default;
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&&) noexcept = default;

bool Generation::next(std::string& piece) {
  piece.clear();
  while (!impl_->done && piece.empty()) {
    impl_->done = !impl_->loop.step(piece);
    if (impl_->loop.result().ids.size() == 1) {
      impl_->disk_bytes_after_prefill = impl_->model->disk_bytes_read();
    }
  }
  return !piece.empty();
}

void Generation::cancel() {
  impl_->loop.cancel();
}
const std::vector<std::int32_t>& Generation::ids() const {
  return impl_->loop.result().ids;
}
const std::string& Generation::text() const {
  return impl_->loop.result().text;
}
FinishReason Generation::finish_reason() const {
  return impl_->loop.result().finish_reason;
}

RunStats Generation::stats() const {
  const TokenLoopResult& result = impl_->loop.result();
  const Model& model = *impl_->model;
  RunStats stats;
  stats.load_s = model.load_s();
  stats.ttft_s = result.ttft_s;
  stats.prefill_tok_s = result.prefill_tok_s();
  stats.decode_tok_s = result.decode_tok_s();
  stats.prompt_tokens = result.prompt_tokens;
  stats.new_tokens = static_cast<std::int64_t>(result.ids.size());
  stats.disk_bytes = model.disk_bytes_read() - impl_->disk_bytes_before;
  if (result.ids.size() > 1) {
    stats.disk_bytes_per_token =
        static_cast<double>(model.disk_bytes_read() - impl_->disk_bytes_after_prefill) /
        static_cast<double>(result.ids.size() - 1);
  }
  stats.disk_wait_s = model.disk_wait_s() - impl_->disk_wait_before;
  stats.weight_bytes = model.weight_bytes();
  stats.predicted_peak_bytes =
      model.predicted_peak_bytes(impl_->source.capacity(), result.prompt_tokens);
  stats.measured_peak_bytes = process_memory().peak_rss_bytes;
  return stats;
}

Generation Model::generate(std::string_view prompt, const GenerateOptions& options) const {
  if (impl_->tokenizer == nullptr) {
    throw UnsupportedError(str_cat(impl_->loaded->checkpoint().path().string(),
                                   ": has no tokenizer; give token ids (--ids) in place of text"));
  }
  const std::vector<std::int32_t> ids = impl_->tokenizer->encode(prompt).ids;
  return generate(ids, options);
}

Generation Model::generate(std::span<const std::int32_t> ids,
                           const GenerateOptions& options) const {
  const GenerationConfig config = with_overrides(impl_->generation_config, overrides_from(options));
  // Room for what was asked, but not beyond what was planned: past that, the context is full.
  const auto prompt = std::max<std::int64_t>(static_cast<std::int64_t>(ids.size()), 1);
  if (prompt > max_context()) {
    throw PlanError(str_cat("the prompt has ", prompt, " tokens and the plan room for ",
                            max_context(), "; a larger --max-context makes room"));
  }
  const std::int64_t positions = std::min(max_context(), prompt + config.max_new_tokens);
  GenerationConfig bounded = config;
  // The last token needs no position of its own.
  bounded.max_new_tokens = std::min(config.max_new_tokens, positions - prompt + 1);
  return Generation(std::make_unique<Generation::Impl>(*this, new_session(positions),
                                                       impl_->tokenizer.get(), ids, bounded,
                                                       impl_->loaded->weights().stream_stats()));
}

}  // namespace shoehorn
