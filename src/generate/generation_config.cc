#include "generate/generation_config.h"

#include <cmath>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "generate/generation_keys.h"

namespace shoehorn {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMostBeams = 4096;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 40;

// What is wrong with a value, or nothing: one rule for files (FormatError) and callers
// (ArgumentError). Ranges are those of transformers' logits warpers.
std::optional<std::string> range_complaint(const GenerationConfig& config) {
  const auto complain = [](const char* key, const char* expected, auto found) {
    return str_cat(key, ": expected ", expected, ", found ", found);
  };
  if (config.max_new_tokens < 0) {
    return complain("max_new_tokens", "a number of tokens from 0 on", config.max_new_tokens);
  }
  if (config.max_length && *config.max_length < 0) {
    return complain("max_length", "a number of tokens from 0 on", *config.max_length);
  }
  if (!(config.temperature >= 0) || std::isinf(config.temperature)) {
    return complain("temperature", "a finite number from 0 on", config.temperature);
  }
  if (config.top_k < 0) return complain("top_k", "0 (off) or more", config.top_k);
  if (!(config.top_p >= 0 && config.top_p <= 1)) {
    return complain("top_p", "a number from 0 to 1", config.top_p);
  }
  if (config.min_p && !(*config.min_p >= 0 && *config.min_p <= 1)) {
    return complain("min_p", "a number from 0 to 1", *config.min_p);
  }
  if (config.top_h && !(*config.top_h > 0 && *config.top_h <= 1)) {
    return complain("top_h", "a number above 0, at most 1", *config.top_h);
  }
  for (const auto& [ids, bias] : config.sequence_bias) {
    if (ids.empty()) return "sequence_bias: a sequence has no ids";
    if (!std::isfinite(static_cast<float>(bias))) {
      return complain("sequence_bias", "a finite number", bias);
    }
  }
  if (const auto& decay = config.exponential_decay_length_penalty) {
    if (decay->first < 0 || decay->first > kMostTokens) {
      return complain("exponential_decay_length_penalty", "a number of tokens from 0 on",
                      decay->first);
    }
    if (!(decay->second > 0) || std::isinf(decay->second)) {
      return complain("exponential_decay_length_penalty", "a finite factor above 0", decay->second);
    }
  }
  if (!(config.typical_p > 0 && config.typical_p <= 1)) {
    return complain("typical_p", "a number above 0, at most 1", config.typical_p);
  }
  if (!(config.epsilon_cutoff >= 0 && config.epsilon_cutoff < 1)) {
    return complain("epsilon_cutoff", "a number from 0 to below 1", config.epsilon_cutoff);
  }
  if (!(config.eta_cutoff >= 0 && config.eta_cutoff < 1)) {
    return complain("eta_cutoff", "a number from 0 to below 1", config.eta_cutoff);
  }
  for (const auto& [key, value] :
       {std::pair("no_repeat_ngram_size", config.no_repeat_ngram_size),
        {"encoder_no_repeat_ngram_size", config.encoder_no_repeat_ngram_size},
        {"min_length", config.min_length},
        {"prompt_lookup_num_tokens", config.prompt_lookup_num_tokens},
        {"max_matching_ngram_size", config.max_matching_ngram_size},
        {"num_assistant_tokens", config.num_assistant_tokens},
        {"min_new_tokens", config.min_new_tokens.value_or(0)}}) {
    if (value < 0 || value > kMostTokens) return complain(key, "0 (off) or more", value);
  }
  if (config.num_beams < 1 || config.num_beams > kMostBeams) {
    return complain("num_beams", "1 to 4096", config.num_beams);
  }
  if (config.num_beam_groups < 1 || config.num_beam_groups > kMostBeams) {
    return complain("num_beam_groups", "1 to 4096", config.num_beam_groups);
  }
  if (config.num_return_sequences < 1 || config.num_return_sequences > kMostBeams) {
    return complain("num_return_sequences", "1 to 4096", config.num_return_sequences);
  }
  if (config.logprobs.value_or(0) < 0) {
    return complain("logprobs", "0 (of the chosen alone) or more", *config.logprobs);
  }
  if (!std::isfinite(config.length_penalty)) {
    return complain("length_penalty", "a finite number", config.length_penalty);
  }
  for (const auto& [key, penalty] :
       {std::pair("repetition_penalty", config.repetition_penalty),
        {"encoder_repetition_penalty", config.encoder_repetition_penalty}}) {
    // The scores are float32, and so is what divides them.
    const auto divisor = static_cast<float>(penalty);
    if (!(divisor > 0) || std::isinf(divisor) || std::isinf(1 / divisor)) {
      return complain(key, "a finite number above 0", penalty);
    }
  }
  for (const std::string& stop : config.stop_strings) {
    if (stop.empty())
      return "stop_strings: a stop string is empty, and would end every text at once";
  }
  return std::nullopt;
}

// Division by a temperature that is 0 in float32 has no meaning; what it tends to is greedy.
void settle_temperature(GenerationConfig& config) {
  if (static_cast<float>(config.temperature) > 0) return;
  config.do_sample = false;
  config.temperature = 1.0;
}

// The top level of a JSON file, with typed look-ups that name the key when they complain.
class Keys {
 public:
  Keys(const Json& object, const std::filesystem::path& path) : object_(object), path_(path) {}

  /// Null counts as absent, as Python's None does in transformers.
  const Json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  void read(const char* key, bool& out) const {
    if (const Json* value = find(key)) {
      if (!value->is_boolean()) fail(key, "true or false", *value);
      out = value->get<bool>();
    }
  }

  void read(const char* key, double& out) const {
    if (const Json* value = find(key)) {
      if (!value->is_number()) fail(key, "a number", *value);
      out = value->get<double>();
    }
  }

  void read(const char* key, std::optional<double>& out) const {
    double value = 0;
    if (find(key) == nullptr) return;
    read(key, value);
    out = value;
  }

  void read(const char* key, std::int64_t& out) const {
    if (const Json* value = find(key)) out = integer(key, *value);
  }

  void read(const char* key, std::optional<std::uint64_t>& out) const {
    if (const Json* value = find(key)) {
      // nlohmann keeps every integer from 0 on as unsigned.
      if (!value->is_number_unsigned()) fail(key, "an integer from 0 on", *value);
      out = value->get<std::uint64_t>();
    }
  }

  void read_id(const char* key, std::optional<std::int32_t>& out) const {
    if (const Json* value = find(key)) out = id(key, *value);
  }

  /// One id or a list of them.
  void read_ids(const char* key, std::vector<std::int32_t>& out) const {
    const Json* value = find(key);
    if (value == nullptr) return;
    out.clear();
    const auto add = [&](const Json& element) {
      if (const std::optional<std::int32_t> token = id(key, element)) out.push_back(*token);
    };
    if (!value->is_array()) return add(*value);
    for (const Json& element : *value) add(element);
  }

  void read(const char* key, std::optional<std::int64_t>& out) const {
    if (const Json* value = find(key)) out = integer(key, *value);
  }

  /// A list of lists of ids.
  void read_id_lists(const char* key, std::vector<std::vector<std::int32_t>>& out) const {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_array()) fail(key, "a list of lists of token ids", *value);
    out.clear();
    for (const Json& list : *value) {
      if (!list.is_array()) fail(key, "a list of lists of token ids", list);
      std::vector<std::int32_t>& ids = out.emplace_back();
      for (const Json& element : list) {
        const std::optional<std::int32_t> token = id(key, element);
        if (!token) fail(key, "token ids from 0 on", element);
        ids.push_back(*token);
      }
    }
  }

  /// A list of a list of ids and a number each: [[[12, 7], -1.5], ...].
  void read_biases(const char* key,
                   std::vector<std::pair<std::vector<std::int32_t>, double>>& out) const {
    constexpr const char* kExpected = "a list of [[token ids], number]";
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_array()) fail(key, kExpected, *value);
    out.clear();
    for (const Json& entry : *value) {
      const bool is_pair =
          entry.is_array() && entry.size() == 2 && entry[0].is_array() && entry[1].is_number();
      if (!is_pair) fail(key, kExpected, entry);
      auto& [ids, bias] = out.emplace_back();
      bias = entry[1].get<double>();
      for (const Json& element : entry[0]) {
        const std::optional<std::int32_t> token = id(key, element);
        if (!token) fail(key, "token ids from 0 on", element);
        ids.push_back(*token);
      }
    }
  }

  /// [tokens, factor].
  void read(const char* key, std::optional<std::pair<std::int64_t, double>>& out) const {
    const Json* value = find(key);
    if (value == nullptr) return;
    if (!value->is_array() || value->size() != 2 || !(*value)[1].is_number()) {
      fail(key, "[a number of tokens, a factor]", *value);
    }
    out.emplace(integer(key, (*value)[0]), (*value)[1].get<double>());
  }

  /// true, false or "never".
  void read(const char* key, EarlyStopping& out) const {
    const Json* value = find(key);
    if (value == nullptr) return;
    const std::string text = value->is_string() ? value->get<std::string>() : value->dump();
    const auto parsed = parse_early_stopping(text);
    if (!parsed) fail(key, R"(true, false or "never")", *value);
    out = *parsed;
  }

  /// One string or a list of them.
  void read(const char* key, std::vector<std::string>& out) const {
    const Json* value = find(key);
    if (value == nullptr) return;
    out.clear();
    const auto add = [&](const Json& element) {
      if (!element.is_string()) fail(key, "a string or a list of strings", element);
      out.push_back(element.get<std::string>());
    };
    if (!value->is_array()) return add(*value);
    for (const Json& element : *value) add(element);
  }

 private:
  std::int64_t integer(const char* key, const Json& value) const {
    const bool fits = value.is_number_integer() &&
                      !(value.is_number_unsigned() &&
                        value.get<std::uint64_t>() >
                            static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
    if (!fits) fail(key, "an integer", value);
    return value.get<std::int64_t>();
  }

  // Some published files say -1 where they mean that there is no such token.
  std::optional<std::int32_t> id(const char* key, const Json& value) const {
    const std::int64_t token = integer(key, value);
    if (token > std::numeric_limits<std::int32_t>::max()) fail(key, "a token id", value);
    if (token < 0) return std::nullopt;
    return static_cast<std::int32_t>(token);
  }

  [[noreturn]] void fail(const char* key, const char* expected, const Json& value) const {
    std::string found = value.is_structured()
                            ? std::string(value.type_name())
                            : value.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (found.size() > 80) found = found.substr(0, 80) + "...";
    throw FormatError(path_, str_cat(key, ": expected ", expected, ", found ", found));
  }

  const Json& object_;
  const std::filesystem::path& path_;
};

Json parse_object(std::string_view text, const std::filesystem::path& path) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    throw FormatError(path, str_cat("not JSON: ", error.what()));
  }
  if (!json.is_object()) {
    throw FormatError(path, str_cat("expected a JSON object, found ", json.type_name()));
  }
  return json;
}

// Every key of generation_config.json that acts, into `config`; members whose keys are absent stay.
void read_keys(const Keys& keys, GenerationConfig& config) {
  keys.read("max_new_tokens", config.max_new_tokens);
  keys.read("max_length", config.max_length);
  keys.read("do_sample", config.do_sample);
  keys.read("temperature", config.temperature);
  keys.read("top_k", config.top_k);
  keys.read("top_p", config.top_p);
  keys.read("min_p", config.min_p);
  keys.read("top_h", config.top_h);
  keys.read("typical_p", config.typical_p);
  keys.read("epsilon_cutoff", config.epsilon_cutoff);
  keys.read("eta_cutoff", config.eta_cutoff);
  keys.read_biases("sequence_bias", config.sequence_bias);
  keys.read("repetition_penalty", config.repetition_penalty);
  keys.read("encoder_repetition_penalty", config.encoder_repetition_penalty);
  keys.read("exponential_decay_length_penalty", config.exponential_decay_length_penalty);
  keys.read("no_repeat_ngram_size", config.no_repeat_ngram_size);
  keys.read("encoder_no_repeat_ngram_size", config.encoder_no_repeat_ngram_size);
  keys.read_id_lists("bad_words_ids", config.bad_words_ids);
  keys.read("min_length", config.min_length);
  keys.read("min_new_tokens", config.min_new_tokens);
  keys.read_id("forced_bos_token_id", config.forced_bos_token_id);
  keys.read_ids("forced_eos_token_id", config.forced_eos_token_id);
  keys.read_ids("suppress_tokens", config.suppress_tokens);
  keys.read_ids("begin_suppress_tokens", config.begin_suppress_tokens);
  keys.read("remove_invalid_values", config.remove_invalid_values);
  keys.read("num_beams", config.num_beams);
  keys.read("num_beam_groups", config.num_beam_groups);
  keys.read("renormalize_logits", config.renormalize_logits);
  keys.read("length_penalty", config.length_penalty);
  keys.read("early_stopping", config.early_stopping);
  keys.read("num_return_sequences", config.num_return_sequences);
  keys.read("prompt_lookup_num_tokens", config.prompt_lookup_num_tokens);
  keys.read("max_matching_ngram_size", config.max_matching_ngram_size);
  keys.read("num_assistant_tokens", config.num_assistant_tokens);
  keys.read_ids("eos_token_id", config.eos_token_id);
  keys.read_id("pad_token_id", config.pad_token_id);
  keys.read_id("bos_token_id", config.bos_token_id);
  keys.read("stop_strings", config.stop_strings);
}

// In transformers max_new_tokens has precedence, wherever in a file the two stand.
void settle_length(const Keys& keys, GenerationConfig& config) {
  if (keys.find("max_new_tokens") != nullptr) config.max_length.reset();
}

}  // namespace

GenerationConfig parse_generation_config(std::string_view text, const std::filesystem::path& path,
                                         UnusedGenerationKeys* unused) {
  const Json json = parse_object(text, path);
  const Keys keys(json, path);
  GenerationConfig config;
  read_keys(keys, config);
  settle_length(keys, config);
  // Not of transformers, and so only of a file that is all about generation.
  keys.read("seed", config.seed);
  keys.read("ignore_eos", config.ignore_eos);
  keys.read("skip_special_tokens", config.skip_special_tokens);
  if (const auto complaint = range_complaint(config)) throw FormatError(path, *complaint);
  settle_temperature(config);
  if (unused != nullptr) *unused = unused_generation_keys(json);
  return config;
}

std::optional<EarlyStopping> parse_early_stopping(std::string_view text) {
  if (text == "false") return EarlyStopping::kNo;
  if (text == "true") return EarlyStopping::kYes;
  if (text == "never") return EarlyStopping::kNever;
  return std::nullopt;
}

GenerationConfig generation_config_from_model_config(std::string_view text,
                                                     const std::filesystem::path& path,
                                                     UnusedGenerationKeys* unused) {
  const Json json = parse_object(text, path);
  Json said = Json::object();
  const auto take = [&](const Json& object) {
    for (const auto& [key, value] : object.items()) {
      if (is_generation_key(key) && !value.is_null() && !said.contains(key)) said[key] = value;
    }
  };
  take(json);
  if (const auto nested = json.find("text_config"); nested != json.end() && nested->is_object()) {
    take(*nested);
  }
  const Keys keys(said, path);
  GenerationConfig config;
  read_keys(keys, config);
  settle_length(keys, config);
  if (const auto complaint = range_complaint(config)) throw FormatError(path, *complaint);
  settle_temperature(config);
  if (unused != nullptr) *unused = unused_generation_keys(said);
  return config;
}

std::int64_t new_tokens_of(const GenerationConfig& config, std::int64_t prompt_tokens) {
  if (!config.max_length) return config.max_new_tokens;
  if (prompt_tokens >= *config.max_length) {
    throw ArgumentError(str_cat("the prompt has ", prompt_tokens, " tokens and max_length is ",
                                *config.max_length,
                                ", which counts them too; --max-new-tokens counts new ones alone"));
  }
  return *config.max_length - prompt_tokens;
}

void require_beams_for_sequences(const GenerationConfig& config) {
  if (config.num_return_sequences <= config.num_beams) return;
  throw ArgumentError(str_cat("num_return_sequences is ", config.num_return_sequences,
                              " and num_beams ", config.num_beams,
                              ": no more sequences than beams can be returned"));
}

GenerationConfig with_overrides(GenerationConfig config, const GenerationOverrides& overrides) {
  const auto set = [](auto& member, const auto& given) {
    if (given) member = *given;
  };
  if (overrides.max_new_tokens) {
    config.max_new_tokens = *overrides.max_new_tokens;
    config.max_length.reset();
  } else if (overrides.max_length) {
    config.max_length = overrides.max_length;
  }
  set(config.temperature, overrides.temperature);
  set(config.top_k, overrides.top_k);
  set(config.top_p, overrides.top_p);
  set(config.min_p, overrides.min_p);
  if (overrides.top_h) config.top_h = overrides.top_h;
  set(config.typical_p, overrides.typical_p);
  set(config.epsilon_cutoff, overrides.epsilon_cutoff);
  set(config.eta_cutoff, overrides.eta_cutoff);
  set(config.sequence_bias, overrides.sequence_bias);
  set(config.repetition_penalty, overrides.repetition_penalty);
  set(config.encoder_repetition_penalty, overrides.encoder_repetition_penalty);
  if (overrides.exponential_decay_length_penalty) {
    config.exponential_decay_length_penalty = overrides.exponential_decay_length_penalty;
  }
  set(config.no_repeat_ngram_size, overrides.no_repeat_ngram_size);
  set(config.encoder_no_repeat_ngram_size, overrides.encoder_no_repeat_ngram_size);
  set(config.bad_words_ids, overrides.bad_words_ids);
  set(config.min_length, overrides.min_length);
  if (overrides.min_new_tokens) config.min_new_tokens = overrides.min_new_tokens;
  if (overrides.forced_bos_token_id) config.forced_bos_token_id = overrides.forced_bos_token_id;
  set(config.forced_eos_token_id, overrides.forced_eos_token_id);
  set(config.suppress_tokens, overrides.suppress_tokens);
  set(config.begin_suppress_tokens, overrides.begin_suppress_tokens);
  set(config.remove_invalid_values, overrides.remove_invalid_values);
  set(config.num_beams, overrides.num_beams);
  set(config.renormalize_logits, overrides.renormalize_logits);
  set(config.length_penalty, overrides.length_penalty);
  set(config.early_stopping, overrides.early_stopping);
  set(config.num_return_sequences, overrides.num_return_sequences);
  set(config.prompt_lookup_num_tokens, overrides.prompt_lookup_num_tokens);
  set(config.max_matching_ngram_size, overrides.max_matching_ngram_size);
  set(config.num_assistant_tokens, overrides.num_assistant_tokens);
  set(config.seed, overrides.seed);
  set(config.eos_token_id, overrides.eos_token_id);
  set(config.pad_token_id, overrides.pad_token_id);
  set(config.bos_token_id, overrides.bos_token_id);
  if (overrides.logprobs) config.logprobs = overrides.logprobs;
  set(config.stop_strings, overrides.stop_strings);
  set(config.ignore_eos, overrides.ignore_eos);
  set(config.skip_special_tokens, overrides.skip_special_tokens);
  const bool shapes_samples = overrides.temperature || overrides.top_k || overrides.top_p ||
                              overrides.min_p || overrides.top_h || overrides.typical_p ||
                              overrides.epsilon_cutoff || overrides.eta_cutoff;
  config.do_sample = overrides.do_sample.value_or(config.do_sample || shapes_samples);
  if (const auto complaint = range_complaint(config)) throw ArgumentError(*complaint);
  settle_temperature(config);
  if (config.num_beams > 1 && config.num_beam_groups > 1) {
    throw UnsupportedError(str_cat("generation_config.json asks for ", config.num_beam_groups,
                                   " num_beam_groups, and beams in groups are not done: num_beams "
                                   "1 (--num-beams 1) searches without beams"));
  }
  return config;
}

}  // namespace shoehorn
