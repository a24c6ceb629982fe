// What a caller may ask for. The names are Hugging Face's; the command line's options are the same
// words with dashes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "shoehorn/quantization.h"

namespace shoehorn {

/// A LoRA adapter as PEFT saves it.
struct AdapterOptions {
  std::filesystem::path path;  // the folder with adapter_config.json
  double scale = 1;            // beside the adapter's own lora_alpha
};

/// The sequences that a plan makes room for.
struct PlannedGeneration {
  std::int64_t prompts = 1;  ///< completed together, each in num_return_sequences
  /// Of each prompt; absent: what the checkpoint's generation_config.json says, as a generation
  /// that does not say otherwise will take it.
  std::optional<std::int64_t> num_beams = {};
  std::optional<std::int64_t> num_return_sequences = {};
};

/// How a model is loaded, or would be: `from_pretrained`, `plan` and `inspect` read the same
/// struct.
struct LoadOptions {
  /// "auto", "balanced", "balanced_low_0", "sequential"; a device for everything ("cpu", "disk",
  /// "cuda:0", "virtual:1"); the path of a JSON file, or JSON text starting with '{', that maps
  /// module names to devices (an integer is an accelerator).
  std::string device_map = "auto";
  /// Limits: "0", "1", ... (accelerators), "cpu", "disk" → "10GiB". Devices left out are not used,
  /// once any is given. Empty: 90 % of what is free now.
  std::map<std::string, std::string> max_memory = {};
  /// "shoehorn", "accelerate" or "transformers": who decides where modules go.
  std::string planner = "shoehorn";
  /// Class names that a device boundary must not cut, beside the architecture's own.
  std::vector<std::string> no_split_module_classes = {};
  /// "auto" (as stored), "float32", "bfloat16", "float16": the type of the weights in memory.
  std::string dtype = "auto";
  /// Another form of linear weights by where the plan puts them: device ("disk", "cpu", "0",
  /// "cuda", "virtual", ...) → "bfloat16", "float16", "float32", "int8", "nf4", "fp4", or "auto",
  /// what dtype and quantization_config say. What quantization would leave as it is stays so.
  std::map<std::string, std::string> tier_dtype = {};
  /// Quantize while loading, or how to compute with what is quantized already.
  std::optional<BitsAndBytesConfig> quantization_config = {};
  /// "none", "cpu" or "cuda": whose rule holds where bitsandbytes differs from itself (the codes of
  /// nested absmax, the int8 constant); none takes the better one.
  std::string bnb_parity = "none";
  /// Of a mixture: its experts are quantized like other linear layers.
  bool quantize_experts = true;
  /// Where weights that are converted on the way in and do not fit in memory are kept; empty:
  /// shoehorn/weights in the user's cache folder.
  std::filesystem::path offload_folder = {};
  /// Keep a checksum of everything that is streamed from the first time that it is read, and
  /// compare it every other time.
  bool verify_weights = false;
  /// "50GiB": all that may be kept there; what was not used for longest goes first. Empty: no
  /// limit.
  std::string offload_cache_limit = {};
  /// Type of the KV cache: "float32", "bfloat16", "float16"; "int8", with a scale for every
  /// position and head; "auto": 16 bits of the model's kind, 32 for a float32 model.
  std::string kv_dtype = "auto";
  /// Positions to plan the KV cache for; 0: the model's own maximum, at most 4096.
  std::int64_t max_context = 0;
  /// Sequences that advance together, at least: `planned` may need more.
  std::int64_t max_batch = 1;
  PlannedGeneration planned = {};
  /// Of the layers in host memory, the share that comes to a CUDA device in passes of few rows (0
  /// to 1) while the CPU computes the others; below 0: what lets both take equally long.
  double link_share = -1;
  /// Threads that compute; 0: the processors that affinity and cgroup quota allow.
  int threads = 0;
  /// A small model of the same vocabulary that guesses what this one says next, for generate() of
  /// one sequence. It is loaded into host memory as it is stored, within the same limits and before
  /// this one is planned.
  std::string draft_model = {};
  /// What is added to the model's linear layers while it runs; their weights stay as they are.
  std::vector<AdapterOptions> adapters = {};
  /// Another config.json than the checkpoint's own.
  std::filesystem::path config = {};
  /// There is no checkpoint: the model's name is a shape ("llama-3-8b", ...; docs/cli.md lists
  /// them) or a config.json, and weights are made up in memory from `synthetic_seed`, to measure
  /// what a model of that shape needs and how fast it runs. No tokenizer, no files.
  bool synthetic = false;
  std::uint64_t synthetic_seed = 0;
  /// Predict from rates measured now, as plan() does, which takes about a second; else from those
  /// of a usual machine. The placement is the same.
  bool measure_rates = false;
  /// The position of the token whose pass is predicted: attention reads as many. 0: half of
  /// max_context.
  std::int64_t predicted_position = 0;
  /// Unexpected tensors in the checkpoint are an error, not a warning.
  bool strict = false;
  /// Told about long work: its name, how many of how many bytes are done. May be empty; called from
  /// several threads.
  std::function<void(const std::string& what, std::uint64_t done, std::uint64_t total)>
      on_progress = {};
  /// Told what a user should know: files left out, unexpected tensors. May be empty.
  std::function<void(const std::string& note)> on_note = {};
};

/// What differs from the checkpoint's generation_config.json.
struct GenerateOptions {
  /// At most so many new tokens, or with the prompt so many in all; where both are given, the first
  /// counts. Default: what generation_config.json says, else 256 new ones.
  std::optional<std::int64_t> max_new_tokens = {};
  std::optional<std::int64_t> max_length = {};
  std::optional<bool> do_sample = {};
  std::optional<double> temperature = {};
  std::optional<std::int64_t> top_k = {};
  std::optional<double> top_p = {};
  std::optional<double> min_p = {};
  std::optional<double> top_h = {};
  std::optional<double> typical_p = {};
  std::optional<double> epsilon_cutoff = {};
  std::optional<double> eta_cutoff = {};
  /// What is added to the logit of the last id of each where the text ends with the others.
  std::optional<std::vector<std::pair<std::vector<std::int32_t>, double>>> sequence_bias = {};
  std::optional<double> repetition_penalty = {};
  /// The same of the prompt alone, the other way: above 1 what it says becomes likelier.
  std::optional<double> encoder_repetition_penalty = {};
  /// After so many new tokens the ends become likelier, by a factor for every further one.
  std::optional<std::pair<std::int64_t, double>> exponential_decay_length_penalty = {};
  std::optional<std::int64_t> no_repeat_ngram_size = {};
  std::optional<std::int64_t> encoder_no_repeat_ngram_size = {};
  std::optional<std::vector<std::vector<std::int32_t>>> bad_words_ids = {};
  std::optional<std::int64_t> min_length = {};
  std::optional<std::int64_t> min_new_tokens = {};
  std::optional<std::int32_t> forced_bos_token_id = {};
  std::optional<std::vector<std::int32_t>> forced_eos_token_id = {};
  std::optional<std::vector<std::int32_t>> suppress_tokens = {};
  std::optional<std::vector<std::int32_t>> begin_suppress_tokens = {};
  /// Logits that are no finite numbers become ones.
  std::optional<bool> remove_invalid_values = {};
  /// Above 1: beam search, for Model::complete; of sampled beams with do_sample.
  std::optional<std::int64_t> num_beams = {};
  /// What beams add up are log-probabilities again after all rules have acted on them.
  std::optional<bool> renormalize_logits = {};
  std::optional<double> length_penalty = {};
  std::optional<std::string> early_stopping = {};  // "false", "true", "never"
  /// Continuations of every prompt, for Model::complete.
  std::optional<std::int64_t> num_return_sequences = {};
  /// Ids guessed at once from what the text said before, checked in one pass; 0: none. Changes how
  /// fast ids come, not which. `max_matching_ngram_size`: ids compared at most to find a place.
  std::optional<std::int64_t> prompt_lookup_num_tokens = {};
  std::optional<std::int64_t> max_matching_ngram_size = {};
  /// Ids that LoadOptions::draft_model guesses at once.
  std::optional<std::int64_t> num_assistant_tokens = {};
  std::optional<std::uint64_t> seed = {};
  /// Any of them ends the text.
  std::optional<std::vector<std::int32_t>> eos_token_id = {};
  std::vector<std::string> stop_strings = {};
  /// How likely every new token was, and that many of the likeliest in its place.
  std::optional<std::int64_t> logprobs = {};
  /// What the output has to match: a GBNF grammar (its text), or a JSON schema (its text; {} is any
  /// JSON). At most one of them.
  std::string grammar = {};
  std::string json_schema = {};
  /// Goes on past the end-of-text tokens.
  bool ignore_eos = false;
};

}  // namespace shoehorn
