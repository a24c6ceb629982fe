#include "shoehorn/generation.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

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

std::int64_t session_positions(const Model& model, std::span<const std::int32_t> ids,
                               const GenerationConfig& config) {
  const auto prompt = std::max<std::int64_t>(static_cast<std::int64_t>(ids.size()), 1);
  return std::min(model.max_context(), prompt + config.max_new_tokens);
}

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
  bool done = false;

  /// `config` has a seed, where it samples.
  Impl(const Model& of, const LoadedModel& loaded, std::span<const std::int32_t> ids,
       const GenerationConfig& config)
      : model(&of),
        source(of, of.new_session(session_positions(of, ids, config)), loaded.head_on_card()),
        disk_bytes_before(loaded.weights().stream_stats().bytes_read),
        disk_wait_before(loaded.weights().stream_stats().wait_s) {}

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
                        prompt + static_cast<std::size_t>(config.max_new_tokens));
  }

  void start(const Tokenizer* tokenizer, std::span<const std::int32_t> ids,
             const GenerationConfig& config, std::unique_ptr<TokenConstraint> constraint) {
    LogitsSource& logits = speculation ? static_cast<LogitsSource&>(*speculation) : source;
    loop.emplace(logits, tokenizer, ids, config, std::move(constraint));
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
    impl_->done = !impl_->loop->step(piece);
    if (impl_->loop->result().ids.size() == 1) {
      impl_->disk_bytes_after_prefill = impl_->model->disk_bytes_read();
    }
  }
  return !piece.empty();
}

void Generation::cancel() {
  impl_->loop->cancel();
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

RunStats Generation::stats() const {
  const TokenLoopResult& result = impl_->loop->result();
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

Generation Model::generate(std::span<const std::int32_t> ids,
                           const GenerateOptions& options) const {
  const GenerationConfig config = generation_request(impl_->generation_config, options);
  if (config.num_beams > 1 || config.num_return_sequences > 1) {
    // Where the options do not say so, generation_config.json does; room for several sequences has
    // to be planned before the model is loaded.
    throw ArgumentError(str_cat("this generation has num_beams ", config.num_beams,
                                " and num_return_sequences ", config.num_return_sequences,
                                ", and generate() makes one sequence: complete() makes all; `run` "
                                "takes --num-beams and --num-return-sequences, 1 for one"));
  }
  const auto prompt = std::max<std::int64_t>(static_cast<std::int64_t>(ids.size()), 1);
  GenerationConfig bounded = within_context(config, prompt, max_context());
  // The draft model draws what the large one will draw.
  if (bounded.do_sample) bounded.seed = generation_seed(bounded);
  if (impl_->draft && options.prompt_lookup_num_tokens.value_or(0) > 0) {
    throw ArgumentError(
        "prompt lookup and a draft model both guess what comes next: ask for one of them");
  }
  auto impl = std::make_unique<Generation::Impl>(*this, *impl_->loaded, ids, bounded);
  Draft draft{.model = impl_->draft.get()};
  if (draft.model != nullptr) draft.on_card = draft.model->impl_->loaded->head_on_card();
  impl->speculate(draft, impl_->speculation_obstacle, ids, bounded);
  impl->start(impl_->tokenizer.get(), ids, bounded,
              output_constraint(options, config, impl_->tokenizer.get(), vocab_size()));
  return Generation(std::move(impl));
}

}  // namespace shoehorn
