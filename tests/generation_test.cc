// Generation of whole models through the public headers: batches, beams, rules, log-probabilities
// and constrained output, held against transformers (tests/parity/record_generate_goldens.py) and
// the same on any device map.

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Prompts = std::vector<std::vector<std::int32_t>>;

const std::filesystem::path kFolder = std::filesystem::path(SHOEHORN_TEST_DATA) / "tiny-llama";

LoadOptions with_room(std::int64_t sequences, const std::string& device_map = "auto") {
  LoadOptions options;
  options.device_map = device_map;
  options.max_batch = sequences;
  options.dtype = "float32";  // as recorded
  options.kv_dtype = "float32";
  return options;
}
Model load(const std::string& device_map = "auto") {
  return from_pretrained(kFolder.string(), with_room(6, device_map));
}

GenerateOptions options_of(const nlohmann::json& config) {
  GenerateOptions options;
  options.ignore_eos = true;
  options.eos_token_id.emplace();
  options.max_new_tokens = config.at("max_new_tokens").get<std::int64_t>();
  const auto set = [&](const char* key, auto& member) {
    using Value = typename std::decay_t<decltype(member)>::value_type;
    if (config.contains(key)) member = config.at(key).get<Value>();
  };
  set("no_repeat_ngram_size", options.no_repeat_ngram_size);
  set("repetition_penalty", options.repetition_penalty);
  set("encoder_repetition_penalty", options.encoder_repetition_penalty);
  set("encoder_no_repeat_ngram_size", options.encoder_no_repeat_ngram_size);
  set("do_sample", options.do_sample);
  set("temperature", options.temperature);
  set("top_k", options.top_k);
  set("renormalize_logits", options.renormalize_logits);
  set("suppress_tokens", options.suppress_tokens);
  set("num_beams", options.num_beams);
  set("num_return_sequences", options.num_return_sequences);
  set("length_penalty", options.length_penalty);
  set("early_stopping", options.early_stopping);
  return options;
}

TEST(Complete, FindsWhatTransformersFinds) {
  std::ifstream file(kFolder / "generate.json");
  const nlohmann::json recorded = nlohmann::json::parse(file);
  const Model model = load();
  for (const auto& item : recorded.at("cases")) {
    SCOPED_TRACE(item.at("name").get<std::string>());
    GenerateOptions options = options_of(item.at("config"));
    const bool beams = item.contains("scores");
    if (!beams) options.logprobs = 0;
    const auto found = model.complete(item.at("prompts").get<Prompts>(), options);
    const auto ids = item.at("ids").get<Prompts>();
    ASSERT_EQ(found.size(), ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      EXPECT_EQ(found[i].ids, ids[i]) << i;
      if (beams) {
        EXPECT_NEAR(found[i].score, item.at("scores")[i].get<double>(), 1e-4) << i;
        continue;
      }
      ASSERT_EQ(found[i].logprobs.size(), ids[i].size());
      for (std::size_t t = 0; t < ids[i].size(); ++t) {
        EXPECT_EQ(found[i].logprobs[t].id, ids[i][t]);
        EXPECT_NEAR(found[i].logprobs[t].logprob, item.at("logprobs")[i][t].get<double>(), 1e-4);
      }
    }
  }
}

TEST(Complete, GivesEachPromptWhatItGivesItAlone) {
  const Model model = load();
  const Prompts prompts = {{1, 5, 9}, {1, 7, 3, 22, 9, 40, 12}, {1}};
  const GenerateOptions options{.max_new_tokens = 10, .ignore_eos = true};
  const auto together = model.complete(prompts, options);
  ASSERT_THAT(together, SizeIs(3));
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Generation alone = model.generate(prompts[i], options);
    for (std::string piece; alone.next(piece);) {
    }
    EXPECT_EQ(together[i].prompt, i);
    EXPECT_EQ(together[i].ids, alone.ids());
    EXPECT_EQ(together[i].text, alone.text());
  }
}

TEST(Complete, ASeedDrawsTheSameBeamsOnAnyDeviceMap) {
  GenerateOptions options{.max_new_tokens = 12,
                          .temperature = 1.5,
                          .num_beams = 3,
                          .num_return_sequences = 3,
                          .seed = 7,
                          .ignore_eos = true};
  const auto expected = load("cpu").complete(Prompts{{1, 5, 9}}, options);
  ASSERT_THAT(expected, SizeIs(3));
  EXPECT_GE(expected[0].score, expected[1].score);
  const auto found = load("disk").complete(Prompts{{1, 5, 9}}, options);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(found[i].ids, expected[i].ids);
    EXPECT_EQ(found[i].score, expected[i].score);
  }
  options.seed = 8;
  EXPECT_NE(load("cpu").complete(Prompts{{1, 5, 9}}, options)[0].ids, expected[0].ids);
}

TEST(Complete, ASeedGivesTheSameSequencesOnAnyDeviceMap) {
  const GenerateOptions options{
      .max_new_tokens = 12, .temperature = 1.5, .num_return_sequences = 3, .seed = 7};
  const auto expected = load("cpu").complete(Prompts{{1, 5, 9}}, options);
  ASSERT_THAT(expected, SizeIs(3));
  EXPECT_NE(expected[0].ids, expected[1].ids);
  EXPECT_NE(expected[1].ids, expected[2].ids);
  for (const char* map : {"disk", R"({"": "cpu", "model.layers.1": "disk"})"}) {
    const auto found = load(map).complete(Prompts{{1, 5, 9}}, options);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(found[i].ids, expected[i].ids) << map;
  }
}

TEST(Complete, BeamsAreTheSameOnAnyDeviceMap) {
  const GenerateOptions options{
      .max_new_tokens = 8, .num_beams = 4, .num_return_sequences = 4, .ignore_eos = true};
  const auto expected = load("cpu").complete(Prompts{{1, 5, 9}}, options);
  const auto found = load("disk").complete(Prompts{{1, 5, 9}}, options);
  ASSERT_THAT(expected, SizeIs(4));
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(found[i].ids, expected[i].ids);
    EXPECT_EQ(found[i].score, expected[i].score);
  }
}

TEST(Complete, StopsWhenCancelled) {
  const std::atomic<bool> cancelled = true;
  const auto found = load().complete(Prompts{{1, 5}}, {.max_new_tokens = 5}, &cancelled);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_THAT(found[0].ids, SizeIs(0));
  EXPECT_EQ(found[0].finish_reason, FinishReason::kCancelled);
}

TEST(Complete, RefusesWhatMakesNoSense) {
  const Model model = load();
  const Prompts prompts = {{1, 5}};
  EXPECT_THROW(model.complete(prompts, {.do_sample = false, .num_return_sequences = 2}),
               ArgumentError);
  EXPECT_THROW(model.complete(prompts, {.num_beams = 2, .logprobs = 1}), UnsupportedError);
  EXPECT_THROW(model.complete(prompts, {.early_stopping = "maybe"}), ArgumentError);
  EXPECT_THROW(model.generate(prompts[0], {.num_beams = 2}), ArgumentError);
}

TEST(Generate, RecordsTheLikeliestTokens) {
  const Model model = load();
  Generation generation =
      model.generate(std::vector<std::int32_t>{1, 5, 9}, {.max_new_tokens = 3, .logprobs = 4});
  for (std::string piece; generation.next(piece);) {
  }
  ASSERT_THAT(generation.logprobs(), SizeIs(generation.ids().size()));
  for (const TokenLogprob& token : generation.logprobs()) {
    ASSERT_THAT(token.top, SizeIs(4));
    EXPECT_EQ(token.top[0].first, token.id);  // greedy
    EXPECT_EQ(token.top[0].second, token.logprob);
    EXPECT_GE(token.top[0].second, token.top[3].second);
  }
}

TEST(Generate, FollowsAJsonSchema) {
  const Model model = load();
  const char* schema = R"({"type":"object","properties":{"ok":{"type":"boolean"},
      "names":{"type":"array","items":{"enum":["ann","bob"]},"minItems":1,"maxItems":2}},
      "required":["ok","names"]})";
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    Generation generation = model.generate(
        "x", {.max_new_tokens = 200, .temperature = 1.0, .seed = seed, .json_schema = schema});
    for (std::string piece; generation.next(piece);) {
    }
    const auto json = nlohmann::json::parse(generation.text(), nullptr, false);
    ASSERT_TRUE(json.is_object()) << generation.text();
    EXPECT_TRUE(json["ok"].is_boolean());
    EXPECT_GE(json["names"].size(), 1U);
  }
}

TEST(Generate, FollowsAGrammarToItsEnd) {
  const Model model = load();
  Generation generation = model.generate(
      "x", {.max_new_tokens = 50, .grammar = "root ::= \"yes\" | \"no\"", .json_schema = ""});
  for (std::string piece; generation.next(piece);) {
  }
  EXPECT_TRUE(generation.text() == "yes" || generation.text() == "no") << generation.text();
  EXPECT_EQ(generation.finish_reason(), FinishReason::kGrammar);
  const auto beams = model.complete(
      Prompts{{1, 5}},
      {.max_new_tokens = 50, .num_beams = 3, .grammar = "root ::= \"yes\" | \"no\""});
  EXPECT_TRUE(beams[0].text == "yes" || beams[0].text == "no") << beams[0].text;
}

TEST(Generate, NamesTheMistakeOfAGrammar) {
  const Model model = load();
  const auto message = [&](const GenerateOptions& options) -> std::string {
    try {
      model.generate("x", options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message({.grammar = "root ::= x"}), HasSubstr("rule x is used and not defined"));
  EXPECT_THAT(message({.json_schema = R"({"type":"integer","minimum":1})"}), HasSubstr("minimum"));
  EXPECT_THAT(message({.grammar = "root ::= \"x\"", .json_schema = "{}"}),
              HasSubstr("exclude each other"));
}

}  // namespace
}  // namespace shoehorn
