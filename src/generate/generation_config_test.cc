#include "generate/generation_config.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

GenerationConfig parse(const std::string& text) {
  return parse_generation_config(text, "generation_config.json");
}

std::string parse_error(const std::string& text) {
  try {
    parse(text);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ParseGenerationConfig, EmptyObjectIsGreedy) {
  EXPECT_FALSE(parse("{}").do_sample);
}

TEST(ParseGenerationConfig, AbsentTopKIsTransformers50) {
  EXPECT_EQ(parse(R"({"do_sample": true})").top_k, 50);
}

TEST(ParseGenerationConfig, NullTopKIsTheDefault) {
  EXPECT_EQ(parse(R"({"top_k": null})").top_k, 50);
}

TEST(ParseGenerationConfig, AbsentMinPIsOff) {
  EXPECT_FALSE(parse("{}").min_p.has_value());
}

TEST(ParseGenerationConfig, ReadsAPublishedFile) {
  const GenerationConfig config = parse(R"({
    "bos_token_id": 128000, "do_sample": true, "eos_token_id": [128001, 128008, 128009],
    "temperature": 0.6, "top_p": 0.9, "transformers_version": "4.42.3"})");
  EXPECT_TRUE(config.do_sample);
  EXPECT_EQ(config.temperature, 0.6);
  EXPECT_EQ(config.top_p, 0.9);
  EXPECT_EQ(config.bos_token_id, 128000);
  EXPECT_THAT(config.eos_token_id, ElementsAre(128001, 128008, 128009));
}

TEST(ParseGenerationConfig, OneEosTokenIdIsAListOfOne) {
  EXPECT_THAT(parse(R"({"eos_token_id": 2})").eos_token_id, ElementsAre(2));
}

TEST(ParseGenerationConfig, NegativePadTokenIdMeansNone) {
  EXPECT_FALSE(parse(R"({"pad_token_id": -1})").pad_token_id.has_value());
}

TEST(ParseGenerationConfig, NegativeEosTokenIdEndsNothing) {
  EXPECT_THAT(parse(R"({"eos_token_id": -1})").eos_token_id, IsEmpty());
}

TEST(ParseGenerationConfig, OneStopStringIsAListOfOne) {
  EXPECT_THAT(parse(R"({"stop_strings": "END"})").stop_strings, ElementsAre("END"));
}

TEST(ParseGenerationConfig, MaxLengthCountsThePrompt) {
  const GenerationConfig config = parse(R"({"max_length": 20})");
  EXPECT_EQ(new_tokens_of(config, 5), 15);
  EXPECT_EQ(new_tokens_of(config, 19), 1);
  EXPECT_THROW(new_tokens_of(config, 20), ArgumentError);  // as in transformers
  EXPECT_EQ(new_tokens_of(parse("{}"), 1000), 256);
  EXPECT_THROW(parse(R"({"max_length": -1})"), FormatError);
}

TEST(ParseGenerationConfig, MaxNewTokensHasPrecedenceOverMaxLength) {
  EXPECT_EQ(new_tokens_of(parse(R"({"max_length": 20, "max_new_tokens": 7})"), 50), 7);
}

TEST(WithOverrides, LimitsOfLengthReplaceThoseOfTheFile) {
  const GenerationConfig length = parse(R"({"max_length": 20})");
  const GenerationConfig tokens = parse(R"({"max_new_tokens": 7})");
  EXPECT_EQ(new_tokens_of(with_overrides(length, {.max_new_tokens = 9}), 50), 9);
  EXPECT_EQ(new_tokens_of(with_overrides(tokens, {.max_length = 60}), 50), 10);
  EXPECT_EQ(new_tokens_of(with_overrides(tokens, {.max_new_tokens = 3, .max_length = 60}), 50), 3);
  EXPECT_EQ(new_tokens_of(with_overrides(length, {}), 5), 15);
}

TEST(WithOverrides, RefusesBeamsInGroups) {
  const GenerationConfig groups = parse(R"({"num_beams": 4, "num_beam_groups": 2})");
  EXPECT_THROW(with_overrides(groups, {}), UnsupportedError);
  EXPECT_EQ(with_overrides(groups, {.num_beams = 1}).num_beams, 1);
}

// GenerationConfig().to_dict() of transformers 5.24, each set to what is not its default.
constexpr const char* kEveryKey = R"({"max_length": 30, "max_new_tokens": 9, "min_length": 2,
    "min_new_tokens": 1, "early_stopping": true, "max_time": 1.5, "stop_strings": ["x"],
    "do_sample": true, "num_beams": 2, "use_mtp": true, "use_cache": false,
    "cache_implementation": "quantized", "cache_config": {"nbits": 4}, "max_cache_len": 5,
    "temperature": 0.5, "top_k": 5, "top_p": 0.5, "min_p": 0.1, "top_h": 0.4, "typical_p": 0.9,
    "epsilon_cutoff": 0.1, "eta_cutoff": 0.1, "repetition_penalty": 1.1,
    "encoder_repetition_penalty": 1.1, "length_penalty": 2.0, "no_repeat_ngram_size": 2,
    "bad_words_ids": [[1]], "renormalize_logits": true, "forced_bos_token_id": 1,
    "forced_eos_token_id": 2, "remove_invalid_values": true,
    "exponential_decay_length_penalty": [3, 1.1], "suppress_tokens": [1],
    "begin_suppress_tokens": [1], "sequence_bias": [[[1], 1.0]], "token_healing": true,
    "guidance_scale": 1.5, "watermarking_config": {"bias": 2.5}, "num_return_sequences": 2,
    "output_attentions": true, "output_hidden_states": true, "output_scores": true,
    "output_logits": true, "return_dict_in_generate": true, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "encoder_no_repeat_ngram_size": 2, "decoder_start_token_id": 1,
    "is_assistant": true, "num_assistant_tokens": 4, "num_assistant_tokens_schedule": "heuristic",
    "assistant_confidence_threshold": 0.2, "prompt_lookup_num_tokens": 3,
    "max_matching_ngram_size": 3, "assistant_early_exit": 2, "assistant_lookbehind": 3,
    "target_lookbehind": 3, "assistant_ensemble_weight": 0.5, "speculation_type": "dflash",
    "compile_config": {"mode": "default"}, "disable_compile": true,
    "continuous_batching_config": {}, "low_memory": true, "penalty_alpha": 0.6,
    "dola_layers": "high", "diversity_penalty": 0.5, "num_beam_groups": 2, "constraints": [1],
    "force_words_ids": [[1]], "prefill_chunk_size": 64, "_from_model_config": true,
    "transformers_version": "5.24.0"})";

TEST(ParseGenerationConfig, PassesNoKeyOfTransformersOverInSilence) {
  UnusedGenerationKeys unused;
  parse_generation_config(kEveryKey, "generation_config.json", &unused);
  EXPECT_THAT(unused.unknown, IsEmpty());
  EXPECT_THAT(unused.unsupported,
              ElementsAre("assistant_ensemble_weight", "cache_implementation", "constraints",
                          "diversity_penalty", "dola_layers", "force_words_ids", "guidance_scale",
                          "max_time", "penalty_alpha", "token_healing", "watermarking_config"));
}

TEST(ParseGenerationConfig, NamesKeysThatItDoesNotKnow) {
  UnusedGenerationKeys unused;
  parse_generation_config(R"({"temprature": 0.5, "top_k": 3, "chat_format": null})",
                          "generation_config.json", &unused);
  EXPECT_THAT(unused.unknown, ElementsAre("temprature"));
}

// What AutoModelForCausalLM of transformers 5.24 takes of such a config.json.
TEST(GenerationConfigFromModelConfig, ReadsTheKeysOfOlderFiles) {
  const GenerationConfig config = generation_config_from_model_config(
      R"({"num_beams": 3, "max_length": 30, "temperature": 0.7, "do_sample": true, "seed": -4,
          "repetition_penalty": 1.3, "min_length": 5, "hidden_size": "any",
          "text_config": {"num_beams": 5, "top_k": 7}})",
      "config.json");
  EXPECT_EQ(config.num_beams, 3);
  EXPECT_EQ(config.max_length, 30);
  EXPECT_EQ(config.temperature, 0.7);
  EXPECT_TRUE(config.do_sample);
  EXPECT_EQ(config.repetition_penalty, 1.3);
  EXPECT_EQ(config.min_length, 5);
  EXPECT_EQ(config.top_k, 7);
  EXPECT_FALSE(config.seed.has_value());
}

TEST(ParseGenerationConfig, SeedMayUseAll64Bits) {
  EXPECT_EQ(parse(R"({"seed": 18446744073709551615})").seed, 18446744073709551615U);
}

TEST(ParseGenerationConfig, TemperatureZeroIsGreedy) {
  EXPECT_FALSE(parse(R"({"do_sample": true, "temperature": 0.0})").do_sample);
}

TEST(ParseGenerationConfig, IntegerIsANumberToo) {
  EXPECT_EQ(parse(R"({"temperature": 2})").temperature, 2.0);
}

TEST(ParseGenerationConfig, NamesUnsupportedKeysThatMatter) {
  UnusedGenerationKeys unused;
  parse_generation_config(R"({"num_beam_groups": 4, "guidance_scale": 1.0, "sequence_bias": [],
                              "penalty_alpha": 0.6, "length_penalty": 2.0, "use_cache": true,
                              "diversity_penalty": 0.0, "max_time": 1.5, "token_healing": true})",
                          "generation_config.json", &unused);
  EXPECT_THAT(unused.unsupported, ElementsAre("max_time", "penalty_alpha", "token_healing"));
}

TEST(ParseGenerationConfig, ReadsWhatActsOnPromptsAndScores) {
  const GenerationConfig config = parse(R"({"encoder_repetition_penalty": 1.5,
      "encoder_no_repeat_ngram_size": 3, "renormalize_logits": true,
      "remove_invalid_values": true})");
  EXPECT_EQ(config.encoder_repetition_penalty, 1.5);
  EXPECT_EQ(config.encoder_no_repeat_ngram_size, 3);
  EXPECT_TRUE(config.renormalize_logits);
  EXPECT_TRUE(config.remove_invalid_values);
  EXPECT_THROW(parse(R"({"encoder_repetition_penalty": 0})"), FormatError);
  EXPECT_THROW(parse(R"({"encoder_no_repeat_ngram_size": -1})"), FormatError);
  const GenerationConfig given = with_overrides(config, {.encoder_repetition_penalty = 2.0,
                                                         .encoder_no_repeat_ngram_size = 0,
                                                         .remove_invalid_values = false,
                                                         .renormalize_logits = false});
  EXPECT_EQ(given.encoder_repetition_penalty, 2.0);
  EXPECT_EQ(given.encoder_no_repeat_ngram_size, 0);
  EXPECT_FALSE(given.renormalize_logits);
  EXPECT_FALSE(given.remove_invalid_values);
}

TEST(ParseGenerationConfig, ReadsRulesAndBeams) {
  const GenerationConfig config = parse(R"({"typical_p": 0.9, "epsilon_cutoff": 0.01,
      "eta_cutoff": 0.02, "no_repeat_ngram_size": 3, "bad_words_ids": [[1], [2, 3]],
      "min_length": 4, "min_new_tokens": 5, "forced_bos_token_id": 6, "forced_eos_token_id": [7],
      "suppress_tokens": [8], "begin_suppress_tokens": [9, 10], "num_beams": 4,
      "length_penalty": 2.0, "early_stopping": "never", "num_return_sequences": 2})");
  EXPECT_EQ(config.typical_p, 0.9);
  EXPECT_EQ(config.epsilon_cutoff, 0.01);
  EXPECT_EQ(config.eta_cutoff, 0.02);
  EXPECT_EQ(config.no_repeat_ngram_size, 3);
  EXPECT_EQ(config.bad_words_ids, (std::vector<std::vector<std::int32_t>>{{1}, {2, 3}}));
  EXPECT_EQ(config.min_length, 4);
  EXPECT_EQ(config.min_new_tokens, 5);
  EXPECT_EQ(config.forced_bos_token_id, 6);
  EXPECT_THAT(config.forced_eos_token_id, ElementsAre(7));
  EXPECT_THAT(config.suppress_tokens, ElementsAre(8));
  EXPECT_THAT(config.begin_suppress_tokens, ElementsAre(9, 10));
  EXPECT_EQ(config.num_beams, 4);
  EXPECT_EQ(config.length_penalty, 2.0);
  EXPECT_EQ(config.early_stopping, EarlyStopping::kNever);
  EXPECT_EQ(config.num_return_sequences, 2);
  EXPECT_EQ(parse(R"({"early_stopping": true})").early_stopping, EarlyStopping::kYes);
}

TEST(ParseGenerationConfig, ReadsBiasesAndSpeculation) {
  const GenerationConfig config = parse(R"({"top_h": 0.4,
      "sequence_bias": [[[7], 2.5], [[12, 8], -1]], "prompt_lookup_num_tokens": 5,
      "exponential_decay_length_penalty": [15, 1.25], "max_matching_ngram_size": 3})");
  EXPECT_EQ(config.top_h, 0.4);
  ASSERT_EQ(config.sequence_bias.size(), 2U);
  EXPECT_THAT(config.sequence_bias[1].first, ElementsAre(12, 8));
  EXPECT_EQ(config.sequence_bias[1].second, -1);
  EXPECT_EQ(config.exponential_decay_length_penalty, (std::pair<std::int64_t, double>(15, 1.25)));
  EXPECT_EQ(config.prompt_lookup_num_tokens, 5);
  EXPECT_EQ(config.max_matching_ngram_size, 3);
}

TEST(ParseGenerationConfig, RefusesRulesThatMakeNoSense) {
  for (const char* json : {R"({"top_h": 0})",
                           R"({"sequence_bias": [[7, 1.0]]})",
                           R"({"sequence_bias": [[[], 1.0]]})",
                           R"({"sequence_bias": [[[7], 1e300]]})",
                           R"({"sequence_bias": {"7": 1}})",
                           R"({"exponential_decay_length_penalty": [15]})",
                           R"({"exponential_decay_length_penalty": [-1, 1.1]})",
                           R"({"exponential_decay_length_penalty": [1, 0]})",
                           R"({"prompt_lookup_num_tokens": -1})",
                           R"({"typical_p": 0})",
                           R"({"epsilon_cutoff": 1})",
                           R"({"eta_cutoff": -1})",
                           R"({"no_repeat_ngram_size": -1})",
                           R"({"bad_words_ids": [1]})",
                           R"({"bad_words_ids": [[-1]]})",
                           R"({"min_length": -2})",
                           R"({"num_beams": 0})",
                           R"({"num_beams": 100000})",
                           R"({"length_penalty": 1e999})",
                           R"({"early_stopping": "maybe"})",
                           R"({"num_return_sequences": 0})"}) {
    EXPECT_NE(parse_error(json), "") << json;
  }
}

TEST(ParseGenerationConfig, WrongTypeNamesFileKeyAndValue) {
  EXPECT_THAT(parse_error(R"({"temperature": "hot"})"),
              AllOf(HasSubstr("generation_config.json"), HasSubstr("temperature"),
                    HasSubstr("expected a number"), HasSubstr("\"hot\"")));
}

TEST(ParseGenerationConfig, FloatIsNoTopK) {
  EXPECT_THAT(parse_error(R"({"top_k": 50.0})"), HasSubstr("top_k: expected an integer"));
}

TEST(ParseGenerationConfig, NumberIsNoBool) {
  EXPECT_THAT(parse_error(R"({"do_sample": 1})"), HasSubstr("do_sample: expected true or false"));
}

TEST(ParseGenerationConfig, BoolIsNoNumber) {
  EXPECT_THAT(parse_error(R"({"top_p": true})"), HasSubstr("top_p: expected a number"));
}

TEST(ParseGenerationConfig, TokenIdsAreIntegers) {
  EXPECT_THAT(parse_error(R"({"eos_token_id": [2, "x"]})"), HasSubstr("eos_token_id"));
}

TEST(ParseGenerationConfig, TokenIdBeyond32BitsIsAnError) {
  EXPECT_THAT(parse_error(R"({"eos_token_id": 4294967298})"), HasSubstr("eos_token_id"));
}

TEST(ParseGenerationConfig, IntegerBeyond64BitsIsAnError) {
  EXPECT_THAT(parse_error(R"({"max_new_tokens": 9223372036854775808})"),
              HasSubstr("max_new_tokens"));
}

TEST(ParseGenerationConfig, StopStringsAreStrings) {
  EXPECT_THAT(parse_error(R"({"stop_strings": [1]})"), HasSubstr("stop_strings"));
}

TEST(ParseGenerationConfig, EmptyStopStringIsAnError) {
  EXPECT_THAT(parse_error(R"({"stop_strings": ["a", ""]})"), HasSubstr("stop_strings"));
}

TEST(ParseGenerationConfig, TopPAboveOneIsAnError) {
  EXPECT_THAT(parse_error(R"({"top_p": 1.5})"), HasSubstr("top_p"));
}

TEST(ParseGenerationConfig, NegativeTopKIsAnError) {
  EXPECT_THAT(parse_error(R"({"top_k": -1})"), HasSubstr("top_k"));
}

TEST(ParseGenerationConfig, RepetitionPenaltyZeroIsAnError) {
  EXPECT_THAT(parse_error(R"({"repetition_penalty": 0})"), HasSubstr("repetition_penalty"));
}

TEST(ParseGenerationConfig, RepetitionPenaltyThatIsZeroInFloat32IsAnError) {
  EXPECT_THAT(parse_error(R"({"repetition_penalty": 1e-300})"), HasSubstr("repetition_penalty"));
}

TEST(ParseGenerationConfig, NumberTooLargeForADoubleIsAnError) {
  EXPECT_THAT(parse_error(R"({"temperature": 1e999})"), HasSubstr("generation_config.json"));
}

TEST(ParseGenerationConfig, TruncatedTextIsAnError) {
  EXPECT_THAT(parse_error(R"({"top_k": )"), HasSubstr("not JSON"));
}

TEST(ParseGenerationConfig, ListIsAnError) {
  EXPECT_THAT(parse_error("[]"), HasSubstr("expected a JSON object"));
}

TEST(ParseGenerationConfig, InvalidUtf8IsAFormatError) {
  EXPECT_THAT(parse_error("{\"stop_strings\": \"\xff\"}"), HasSubstr("not JSON"));
}

TEST(ParseGenerationConfig, LongValueIsCutInTheMessage) {
  EXPECT_LT(parse_error("{\"top_k\": \"" + std::string(100000, 'x') + "\"}").size(), 250U);
}

TEST(ParseGenerationConfig, DeepNestingIsRead) {
  const std::string deep = std::string(200000, '[') + std::string(200000, ']');
  EXPECT_EQ(parse("{\"x\": " + deep + ", \"top_k\": 3}").top_k, 3);
}

TEST(GenerationConfigFromModelConfig, TakesTokenIdsAndTheRest) {
  const GenerationConfig config = generation_config_from_model_config(
      R"({"eos_token_id": 2, "bos_token_id": 1, "top_k": 6, "do_sample": true})", "config.json");
  EXPECT_THAT(config.eos_token_id, ElementsAre(2));
  EXPECT_EQ(config.bos_token_id, 1);
  EXPECT_EQ(config.top_k, 6);
  EXPECT_TRUE(config.do_sample);
}

TEST(GenerationConfigFromModelConfig, FallsBackToTheTextConfig) {
  const GenerationConfig config = generation_config_from_model_config(
      R"({"bos_token_id": 9, "text_config": {"eos_token_id": [1, 106], "bos_token_id": 2}})",
      "config.json");
  EXPECT_THAT(config.eos_token_id, ElementsAre(1, 106));
  EXPECT_EQ(config.bos_token_id, 9);
}

TEST(WithOverrides, AbsentOnesKeepTheFilesValues) {
  const GenerationConfig config =
      with_overrides(parse(R"({"do_sample": true, "temperature": 0.6})"), {.top_k = 5});
  EXPECT_TRUE(config.do_sample);
  EXPECT_EQ(config.temperature, 0.6);
  EXPECT_EQ(config.top_k, 5);
}

TEST(WithOverrides, TemperatureAsksForSampling) {
  EXPECT_TRUE(with_overrides({}, {.temperature = 0.7}).do_sample);
}

TEST(WithOverrides, DoSampleFalseWinsOverATemperature) {
  EXPECT_FALSE(with_overrides({}, {.do_sample = false, .temperature = 0.7}).do_sample);
}

TEST(WithOverrides, TemperatureZeroIsGreedy) {
  EXPECT_FALSE(with_overrides(parse(R"({"do_sample": true})"), {.temperature = 0.0}).do_sample);
}

TEST(WithOverrides, SeedAloneDoesNotSample) {
  EXPECT_FALSE(with_overrides({}, {.seed = 7}).do_sample);
}

TEST(WithOverrides, ValueOutOfRangeIsTheCallersError) {
  EXPECT_THROW(with_overrides({}, {.top_p = -0.5}), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
