// What a generation is asked to do, in Hugging Face's words: the members are the keys of
// generation_config.json (transformers' GenerationConfig), read from that file and then overridden
// by what the caller gives.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shoehorn {

/// When beam search stops, as transformers' early_stopping: once a candidate that is running looks
/// no better than what is finished (false), once num_beams are finished (true), or only once none
/// can become better ("never").
enum class EarlyStopping { kNo, kYes, kNever };

/// The values a generation runs with. Those from do_sample to eta_cutoff act only where do_sample
/// is true; those after them act on greedy choices too, as in transformers.
struct GenerationConfig {
  /// New tokens at most. transformers' own default is a max_length of 20, which is not taken over.
  std::int64_t max_new_tokens = 256;
  /// The same with the prompt's tokens: there only where max_new_tokens was not given, and then in
  /// its place (new_tokens_of).
  std::optional<std::int64_t> max_length = std::nullopt;

  bool do_sample = false;
  double temperature = 1.0;
  std::int64_t top_k = 50;                     ///< 0: all
  double top_p = 1.0;                          ///< 1: all
  std::optional<double> min_p = std::nullopt;  ///< absent: all

  std::optional<double> top_h = std::nullopt;  ///< absent: all
  double typical_p = 1.0;                      ///< 1: all
  double epsilon_cutoff = 0.0;                 ///< 0: all
  double eta_cutoff = 0.0;                     ///< 0: all

  /// What is added to the logit of the last id of each where the text ends with the others.
  std::vector<std::pair<std::vector<std::int32_t>, double>> sequence_bias = {};
  double repetition_penalty = 1.0;
  /// Above 1: what the prompt has becomes likelier (divided where repetition_penalty multiplies).
  double encoder_repetition_penalty = 1.0;
  /// After so many new tokens the ends become likelier, by a factor for every further one.
  std::optional<std::pair<std::int64_t, double>> exponential_decay_length_penalty = std::nullopt;
  std::int64_t no_repeat_ngram_size = 0;                      ///< 0: may repeat
  std::int64_t encoder_no_repeat_ngram_size = 0;              ///< likewise, of the prompt alone
  std::vector<std::vector<std::int32_t>> bad_words_ids = {};  ///< never appear
  std::int64_t min_length = 0;                                ///< no eos before, prompt included
  std::optional<std::int64_t> min_new_tokens = std::nullopt;  ///< likewise, in place of min_length
  std::optional<std::int32_t> forced_bos_token_id = std::nullopt;
  std::vector<std::int32_t> forced_eos_token_id = {};    ///< one of them is the last that fits
  std::vector<std::int32_t> suppress_tokens = {};        ///< never appear
  std::vector<std::int32_t> begin_suppress_tokens = {};  ///< do not come first
  bool remove_invalid_values = false;  ///< logits that are no finite numbers become ones

  std::int64_t num_beams = 1;  ///< above 1: beam search, of sampled beams with do_sample
  /// Beams in groups that avoid each other, which is not done: above 1 beam search is refused.
  std::int64_t num_beam_groups = 1;
  /// What beams add up are log-probabilities again after all of the above has acted on them.
  bool renormalize_logits = false;
  double length_penalty = 1.0;  ///< scores are divided by length to this power
  EarlyStopping early_stopping = EarlyStopping::kNo;
  std::int64_t num_return_sequences = 1;

  /// Speculation, which changes how fast ids come and not which: ids guessed at once from what the
  /// text said before, 0: none; and how many ids are compared for it, 0: PromptLookup's own number.
  std::int64_t prompt_lookup_num_tokens = 0;
  std::int64_t max_matching_ngram_size = 0;
  std::int64_t num_assistant_tokens = 0;  ///< of a draft model at once; 0: DraftModel's own number

  /// Absent: drawn anew for every generation, and reported in its result. Not a key of
  /// transformers, which seeds through torch; draws differ from torch's anyway.
  std::optional<std::uint64_t> seed = std::nullopt;

  std::vector<std::int32_t> eos_token_id = {};  ///< any of them ends the text; empty: none does
  std::optional<std::int32_t> pad_token_id = std::nullopt;
  std::optional<std::int32_t> bos_token_id = std::nullopt;

  /// Log-probabilities of the chosen tokens, and of that many of the likeliest, in the model's own
  /// distribution. Not a key of transformers, which has output_scores.
  std::optional<std::int64_t> logprobs = std::nullopt;

  std::vector<std::string> stop_strings = {};
  bool ignore_eos = false;          ///< go on to max_new_tokens whatever comes
  bool skip_special_tokens = true;  ///< leave the text of special tokens out of the output
};

/// What a command line or a call gives; absent members leave the config as it is.
struct GenerationOverrides {  // initialized, so that a call may name any few of them
  std::optional<std::int64_t> max_new_tokens = std::nullopt;
  std::optional<std::int64_t> max_length = std::nullopt;
  std::optional<bool> do_sample = std::nullopt;
  std::optional<double> temperature = std::nullopt;
  std::optional<std::int64_t> top_k = std::nullopt;
  std::optional<double> top_p = std::nullopt;
  std::optional<double> min_p = std::nullopt;
  std::optional<double> top_h = std::nullopt;
  std::optional<double> typical_p = std::nullopt;
  std::optional<double> epsilon_cutoff = std::nullopt;
  std::optional<double> eta_cutoff = std::nullopt;
  std::optional<std::vector<std::pair<std::vector<std::int32_t>, double>>> sequence_bias =
      std::nullopt;
  std::optional<double> repetition_penalty = std::nullopt;
  std::optional<double> encoder_repetition_penalty = std::nullopt;
  std::optional<std::pair<std::int64_t, double>> exponential_decay_length_penalty = std::nullopt;
  std::optional<std::int64_t> no_repeat_ngram_size = std::nullopt;
  std::optional<std::int64_t> encoder_no_repeat_ngram_size = std::nullopt;
  std::optional<std::vector<std::vector<std::int32_t>>> bad_words_ids = std::nullopt;
  std::optional<std::int64_t> min_length = std::nullopt;
  std::optional<std::int64_t> min_new_tokens = std::nullopt;
  std::optional<std::int32_t> forced_bos_token_id = std::nullopt;
  std::optional<std::vector<std::int32_t>> forced_eos_token_id = std::nullopt;
  std::optional<std::vector<std::int32_t>> suppress_tokens = std::nullopt;
  std::optional<std::vector<std::int32_t>> begin_suppress_tokens = std::nullopt;
  std::optional<bool> remove_invalid_values = std::nullopt;
  std::optional<std::int64_t> num_beams = std::nullopt;
  std::optional<bool> renormalize_logits = std::nullopt;
  std::optional<double> length_penalty = std::nullopt;
  std::optional<EarlyStopping> early_stopping = std::nullopt;
  std::optional<std::int64_t> num_return_sequences = std::nullopt;
  std::optional<std::int64_t> prompt_lookup_num_tokens = std::nullopt;
  std::optional<std::int64_t> max_matching_ngram_size = std::nullopt;
  std::optional<std::int64_t> num_assistant_tokens = std::nullopt;
  std::optional<std::uint64_t> seed = std::nullopt;
  std::optional<std::vector<std::int32_t>> eos_token_id = std::nullopt;
  std::optional<std::int32_t> pad_token_id = std::nullopt;
  std::optional<std::int32_t> bos_token_id = std::nullopt;
  std::optional<std::int64_t> logprobs = std::nullopt;
  std::optional<std::vector<std::string>> stop_strings = std::nullopt;
  std::optional<bool> ignore_eos = std::nullopt;
  std::optional<bool> skip_special_tokens = std::nullopt;
};

/// What a file says that no generation follows, for notes to the user.
struct UnusedGenerationKeys {
  /// Set to something that would change the output, and not done: guidance_scale, max_time, ...
  std::vector<std::string> unsupported = {};
  std::vector<std::string> unknown = {};  ///< no keys of transformers 5.24's GenerationConfig
};

/// generation_config.json as text; `path` is for messages. Keys that are absent or null keep
/// transformers' defaults, a negative token id means "none", a temperature of 0 means greedy. What
/// has no effect here is added to `unused`, but for keys that change nothing of what is said
/// (use_cache, output_scores, compile_config, ...). Throws FormatError naming the key where a value
/// has the wrong type or range.
GenerationConfig parse_generation_config(std::string_view text, const std::filesystem::path& path,
                                         UnusedGenerationKeys* unused = nullptr);

/// "false", "true" or "never", as transformers has it; nothing for other text.
std::optional<EarlyStopping> parse_early_stopping(std::string_view text);

/// The config of a model without generation_config.json: the keys of one that its config.json has,
/// as files of before 2023 do (of its text_config where the top level has none), as transformers'
/// GenerationConfig.from_model_config takes them. Throws FormatError as above.
GenerationConfig generation_config_from_model_config(std::string_view text,
                                                     const std::filesystem::path& path,
                                                     UnusedGenerationKeys* unused = nullptr);

/// New tokens at most behind a prompt. Throws ArgumentError where a max_length leaves none, as
/// transformers does.
std::int64_t new_tokens_of(const GenerationConfig& config, std::int64_t prompt_tokens);

/// Throws ArgumentError where a beam search would return more sequences than it has beams.
void require_beams_for_sequences(const GenerationConfig& config);

/// `config` with what `overrides` holds. A temperature, top_k, top_p, min_p, typical_p or cutoff
/// that is given asks for sampling unless do_sample is given too; a temperature of 0 asks for
/// greedy. Either limit of length that is given replaces both of the config; of both given
/// max_new_tokens counts. Throws ArgumentError naming the option where a value is out of range.
GenerationConfig with_overrides(GenerationConfig config, const GenerationOverrides& overrides);

}  // namespace shoehorn
