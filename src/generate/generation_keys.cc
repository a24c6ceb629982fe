#include "generate/generation_keys.h"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

namespace shoehorn {
namespace {

using Json = nlohmann::json;

// GenerationConfig's members of the same names.
constexpr std::array<std::string_view, 41> kFollowed = {
    "max_new_tokens",
    "max_length",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "top_h",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "sequence_bias",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "exponential_decay_length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "min_length",
    "min_new_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "remove_invalid_values",
    "num_beams",
    "num_beam_groups",
    "renormalize_logits",
    "length_penalty",
    "early_stopping",
    "num_return_sequences",
    "prompt_lookup_num_tokens",
    "max_matching_ngram_size",
    "num_assistant_tokens",
    "eos_token_id",
    "pad_token_id",
    "bos_token_id",
    "stop_strings",
    // Our own, which transformers keeps and does not look at.
    "seed",
    "ignore_eos",
    "skip_special_tokens",
};

// They say where the file comes from, what Python's generate() returns beside the ids, or how fast
// it finds the same ones.
constexpr std::array<std::string_view, 26> kWithoutEffect = {
    "_from_model_config",
    "transformers_version",
    "_commit_hash",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "return_legacy_cache",
    "use_cache",
    "cache_config",
    "max_cache_len",
    "low_memory",
    "prefill_chunk_size",
    "compile_config",
    "disable_compile",
    "continuous_batching_config",
    "use_mtp",
    "is_assistant",
    "num_assistant_tokens_schedule",
    "assistant_confidence_threshold",
    "assistant_early_exit",
    "assistant_lookbehind",
    "target_lookbehind",
    "speculation_type",
    "decoder_start_token_id",  // of encoder-decoders
};

// With the value that changes nothing.
const std::array<std::pair<std::string_view, Json>, 11> kNotDone = {{
    {"diversity_penalty", 0.0},
    {"penalty_alpha", nullptr},
    {"guidance_scale", 1.0},
    {"dola_layers", nullptr},
    {"watermarking_config", nullptr},
    {"force_words_ids", nullptr},
    {"constraints", nullptr},
    {"token_healing", false},
    {"max_time", nullptr},
    {"assistant_ensemble_weight", nullptr},
    {"cache_implementation", nullptr},
}};

/// Whether a value of a key of kNotDone leaves the output as it is.
bool changes_nothing(std::string_view key, const Json& value, const Json& neutral) {
  if (value == neutral) return true;
  // Of the caches only the quantized one holds other numbers.
  if (key == "cache_implementation") return value != "quantized";
  // An empty list of words to force forces nothing.
  return value.is_structured() && value.empty();
}

}  // namespace

bool is_generation_key(std::string_view key) {
  return std::ranges::find(kFollowed, key) != kFollowed.end() ||
         std::ranges::find(kWithoutEffect, key) != kWithoutEffect.end() ||
         std::ranges::find(kNotDone, key, &std::pair<std::string_view, Json>::first) !=
             kNotDone.end();
}

UnusedGenerationKeys unused_generation_keys(const Json& object) {
  UnusedGenerationKeys unused;
  for (const auto& [key, value] : object.items()) {
    if (value.is_null()) continue;
    const auto not_done =
        std::ranges::find(kNotDone, key, &std::pair<std::string_view, Json>::first);
    if (not_done != kNotDone.end()) {
      if (!changes_nothing(key, value, not_done->second)) unused.unsupported.push_back(key);
    } else if (!is_generation_key(key)) {
      unused.unknown.push_back(key);
    }
  }
  return unused;
}

}  // namespace shoehorn
