#include "api/generation_request.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "generate/gbnf.h"
#include "generate/grammar_constraint.h"
#include "generate/json_schema.h"
#include "text/token_bytes.h"

namespace shoehorn {
namespace {

GenerationOverrides overrides_from(const GenerateOptions& options) {
  GenerationOverrides overrides;
  overrides.max_new_tokens = options.max_new_tokens;
  overrides.max_length = options.max_length;
  overrides.do_sample = options.do_sample;
  overrides.temperature = options.temperature;
  overrides.top_k = options.top_k;
  overrides.top_p = options.top_p;
  overrides.min_p = options.min_p;
  overrides.top_h = options.top_h;
  overrides.typical_p = options.typical_p;
  overrides.epsilon_cutoff = options.epsilon_cutoff;
  overrides.eta_cutoff = options.eta_cutoff;
  overrides.sequence_bias = options.sequence_bias;
  overrides.repetition_penalty = options.repetition_penalty;
  overrides.encoder_repetition_penalty = options.encoder_repetition_penalty;
  overrides.exponential_decay_length_penalty = options.exponential_decay_length_penalty;
  overrides.no_repeat_ngram_size = options.no_repeat_ngram_size;
  overrides.encoder_no_repeat_ngram_size = options.encoder_no_repeat_ngram_size;
  overrides.bad_words_ids = options.bad_words_ids;
  overrides.min_length = options.min_length;
  overrides.min_new_tokens = options.min_new_tokens;
  overrides.forced_bos_token_id = options.forced_bos_token_id;
  overrides.forced_eos_token_id = options.forced_eos_token_id;
  overrides.suppress_tokens = options.suppress_tokens;
  overrides.begin_suppress_tokens = options.begin_suppress_tokens;
  overrides.remove_invalid_values = options.remove_invalid_values;
  overrides.num_beams = options.num_beams;
  overrides.renormalize_logits = options.renormalize_logits;
  overrides.length_penalty = options.length_penalty;
  overrides.num_return_sequences = options.num_return_sequences;
  overrides.prompt_lookup_num_tokens = options.prompt_lookup_num_tokens;
  overrides.max_matching_ngram_size = options.max_matching_ngram_size;
  overrides.num_assistant_tokens = options.num_assistant_tokens;
  overrides.eos_token_id = options.eos_token_id;
  overrides.logprobs = options.logprobs;
  if (options.early_stopping) {
    overrides.early_stopping = parse_early_stopping(*options.early_stopping);
    if (!overrides.early_stopping) {
      throw ArgumentError(str_cat("early_stopping: expected false, true or never, found ",
                                  *options.early_stopping));
    }
  }
  overrides.seed = options.seed;
  if (!options.stop_strings.empty()) overrides.stop_strings = options.stop_strings;
  if (options.ignore_eos) overrides.ignore_eos = true;
  return overrides;
}

}  // namespace

GenerationConfig generation_request(const GenerationConfig& model, const GenerateOptions& options) {
  return with_overrides(model, overrides_from(options));
}

GenerationConfig within_context(GenerationConfig config, std::int64_t prompt_tokens,
                                std::int64_t max_context) {
  if (prompt_tokens > max_context) {
    throw PlanError(str_cat("the prompt has ", prompt_tokens, " tokens and the plan room for ",
                            max_context, "; a larger --max-context makes room"));
  }
  // The last token needs no position of its own.
  config.max_new_tokens =
      std::min(new_tokens_of(config, prompt_tokens), max_context - prompt_tokens + 1);
  config.max_length.reset();
  return config;
}

std::unique_ptr<TokenConstraint> output_constraint(const GenerateOptions& options,
                                                   const GenerationConfig& config,
                                                   const Tokenizer* tokenizer,
                                                   std::int64_t vocab_size) {
  if (options.grammar.empty() && options.json_schema.empty()) return nullptr;
  if (!options.grammar.empty() && !options.json_schema.empty()) {
    throw ArgumentError("a grammar and a JSON schema exclude each other: give one of them");
  }
  if (tokenizer == nullptr) {
    throw ArgumentError("a grammar needs a tokenizer, and the checkpoint has none");
  }
  Grammar grammar = options.grammar.empty()
                        ? parse_gbnf(json_schema_gbnf(options.json_schema), "JSON schema")
                        : parse_gbnf(options.grammar);
  return make_grammar_constraint(std::move(grammar), token_bytes(*tokenizer, vocab_size),
                                 config.eos_token_id);
}

}  // namespace shoehorn
