#include "shoehorn/generation.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "shoehorn/cancelled.h"
#include "shoehorn/error.h"
#include "shoehorn/model.h"

#include "api/generation_request.h"
#include "api/model_impl.h"
#include "api/session_logits.h"
#include "base/memory_status.h"
#include "base/str_cat.h"
#include "generate/draft_model.h"
#include "generate/prompt_lookup.h"
#include "generate/speculation.h"
#include "generate/token_loop.h"

namespace shoehorn {
namespace {

/// What a draft model needs beside the large one.
struct Draft {
  const Model* model = nullptr;  // null: none
  bool on_card = false;
};

}  // namespace

struct Generation::Impl {
  const Model* model;
  SessionLogits source;
  std::optional<SessionLogits> draft;  // of the draft model
  std::optional<SpeculativeSource> speculation;
  std::optional<TokenLoop> loop;
  std::vector<std::string> notes;
  std::uint64_t disk_bytes_before;
  double disk_wait_before;
  std::uint64_t disk_bytes_after_prefill = 0;
  const LoadedModel* loaded;
  std::vector<GroupTime> groups_after_prefill = {};
  bool done = false;

  /// `session`: a Session of its own, or a Session& of the caller's.
  template <typename SessionOrReference>
  Impl(const Model& of, const LoadedModel& loaded, SessionOrReference&& session)
      : model(&of),
        source(of, std::forward<SessionOrReference>(session), loaded.head_on_card()),
        disk_bytes_before(loaded.weights().stream_stats().bytes_read),
        disk_wait_before(loaded.weights().stream_stats().wait_s),
        loaded(&loaded) {}

  /// Ready for its first step. `parts` are the model's own.
  template <typename ModelParts, typename SessionOrReference>
  static std::unique_ptr<Impl> begin(const Model& of, const ModelParts& parts,
                                     SessionOrReference&& session,
                                     std::span<const std::int32_t> ids, GenerationConfig config,
                                     const GenerateOptions& options) {
    // The draft model draws what the large one will draw.
    if (config.do_sample) config.seed = generation_seed(config);
    if (parts.draft && options.prompt_lookup_num_tokens.value_or(0) > 0) {
      throw ArgumentError(
          "prompt lookup and a draft model both guess what comes next: ask for one of them");
    }
    auto impl =
        std::make_unique<Impl>(of, *parts.loaded, std::forward<SessionOrReference>(session));
    impl->speculate({.model = parts.draft.get(), .on_card = parts.draft_on_card()},
                    parts.speculation_obstacle, ids, config);
    impl->start(parts.tokenizer.get(), ids, config,
                output_constraint(options, config, parts.tokenizer.get(), of.vocab_size()));
    return impl;
  }

  /// Before start().
  void speculate(const Draft& from, const std::string& obstacle, std::span<const std::int32_t> ids,
                 const GenerationConfig& config) {
    if (config.prompt_lookup_num_tokens == 0 && from.model == nullptr) return;
    if (!obstacle.empty()) {
      notes.push_back("nothing is guessed ahead, since that would change what is said: " +
                      obstacle);
      return;
    }
    const std::size_t prompt = std::max<std::size_t>(ids.size(), 1);
    std::unique_ptr<DraftSource> drafts;
    if (from.model != nullptr) {
      drafts = draft_model(*from.model, from.on_card, prompt, config);
    } else {
      PromptLookupOptions options{.eos_token_id = config.ignore_eos
                                                      ? std::span<const std::int32_t>{}
                                                      : config.eos_token_id};
      options.prompt_lookup_num_tokens = static_cast<std::size_t>(config.prompt_lookup_num_tokens);
      if (config.max_matching_ngram_size > 0) {
        options.max_matching_ngram_size = static_cast<std::size_t>(config.max_matching_ngram_size);
      }
      drafts = std::make_unique<PromptLookup>(options);
    }
    speculation.emplace(source, std::move(drafts),
                        prompt + static_cast<std::size_t>(config.max_new_tokens),
                        std::function<double()>{}, static_cast<std::size_t>(source.cached()));
  }

  void start(const Tokenizer* tokenizer, std::span<const std::int32_t> ids,
             const GenerationConfig& config, std::unique_ptr<TokenConstraint> constraint) {
    LogitsSource& logits = speculation ? static_cast<LogitsSource&>(*speculation) : source;
    loop.emplace(logits, tokenizer, ids, config, std::move(constraint));
  }

  /// Guesses that were right but came after the end: a session holds what was said.
  void forget_guesses() {
    if (!speculation) return;
    const TokenLoopResult& result = loop->result();
    const std::int64_t held = result.prompt_tokens + static_cast<std::int64_t>(result.ids.size());
    if (source.position() >= held) source.truncate(static_cast<std::size_t>(held - 1));
  }

 private:
  std::unique_ptr<DraftSource> draft_model(const Model& small, bool on_card, std::size_t prompt,
                                           const GenerationConfig& config) {
    const std::int64_t positions = std::min(small.max_context(), source.capacity());
    draft.emplace(small, small.new_session(positions), on_card);
    DraftModelOptions options{.capacity = static_cast<std::size_t>(positions),
                              .vocab_size = static_cast<std::size_t>(model->vocab_size())};
    if (config.num_assistant_tokens > 0) {
      options.num_assistant_tokens = static_cast<std::size_t>(config.num_assistant_tokens);
    }
    return std::make_unique<DraftModel>(*draft, options, config, prompt, config.seed.value_or(0));
  }
};

Generation::Generation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Generation::~Generation() = default;
Generation::Generation(Generation&&) noexcept = default;
Generation& Generation::operator=(Generation&&) noexcept = default;

bool Generation::next(std::string& piece) {
  piece.clear();
  while (!impl_->done && piece.empty()) {
    try {
      impl_->done = !impl_->loop->step(piece);
    } catch (const CancelledError&) {
      // In the midst of a pass, which left no trace: the loop ends before its next step.
      impl_->loop->cancel();
      impl_->done = !impl_->loop->step(piece);
    }
    if (impl_->loop->result().ids.size() == 1) {
      impl_->disk_bytes_after_prefill = impl_->model->disk_bytes_read();
      impl_->groups_after_prefill = impl_->loaded->weights().group_times();
    }
    if (impl_->done) impl_->forget_guesses();
  }
  return !piece.empty();
}

void Generation::cancel() {
  impl_->loop->cancel();
  impl_->source.stop();
  if (impl_->draft) impl_->draft->stop();  // its passes may be the longer ones
}
const std::vector<std::int32_t>& Generation::ids() const {
  return impl_->loop->result().ids;
}
const std::string& Generation::text() const {
  return impl_->loop->result().text;
}
const std::vector<TokenLogprob>& Generation::logprobs() const {
  return impl_->loop->logprobs();
}
FinishReason Generation::finish_reason() const {
  return impl_->loop->result().finish_reason;
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
  const TokenLoopResult& result = impl_->loop->result();
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
  if (impl_->speculation) {
    const SpeculationStats speculation = impl_->speculation->stats();
    stats.speculates = true;
    stats.drafted = speculation.drafted;
    stats.accepted = speculation.accepted;
    stats.checking_passes = speculation.passes;
    stats.speculation_switched_off = speculation.switched_off;
  }
  return stats;
}

const std::vector<std::string>& Generation::notes() const {
  return impl_->notes;
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
  return Generation(Generation::Impl::begin(
      *this, *impl_, new_session(std::min(max_context(), prompt + bounded.max_new_tokens)), ids,
      bounded, options));
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
  return Generation(Generation::Impl::begin(
      *this, *impl_, session, ids,
      within_context(config, std::max<std::int64_t>(prompt, 1), session.capacity()), options));
}

}  // namespace shoehorn
