#include "checkpoint/gguf_tokenizer.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "checkpoint/gguf_reader.h"
#include "checkpoint/testing_files.h"
#include "checkpoint/testing_gguf.h"

namespace shoehorn::gguf {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;

TokenizerFiles files_of(const GgufBuilder& builder) {
  const std::string file = builder.build();
  return tokenizer_files(read_header(source_of("m.gguf", testing::as_bytes(file))).metadata);
}
json tokenizer_of(const GgufBuilder& builder) {
  return json::parse(files_of(builder).tokenizer_json);
}
std::string format_error(const GgufBuilder& builder) {
  return message_of<FormatError>([&] { files_of(builder); });
}

/// Four tokens, one of them control, one user-defined.
GgufBuilder byte_level() {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .string("tokenizer.ggml.pre", "gpt-2")
      .strings("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab", "<tool>"})
      .int32s("tokenizer.ggml.token_type", {3, 1, 1, 1, 4})
      .strings("tokenizer.ggml.merges", {"a b"})
      .uint32("tokenizer.ggml.bos_token_id", 0)
      .uint32("tokenizer.ggml.eos_token_id", 0);
  return builder;
}

GgufBuilder sentencepiece() {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "llama")
      .strings("tokenizer.ggml.tokens", {"<unk>", "<s>", "</s>", "<0x00>", "ab", "a", "b"})
      .int32s("tokenizer.ggml.token_type", {2, 3, 3, 6, 1, 1, 1})
      .float32s("tokenizer.ggml.scores", {0, 0, 0, 0, -1, -2, -3});
  return builder;
}

TEST(TokenizerFiles, ByteLevelHasVocabularyAndMerges) {
  const json tokenizer = tokenizer_of(byte_level());
  EXPECT_EQ(tokenizer["version"], "1.0");
  EXPECT_EQ(tokenizer["model"]["type"], "BPE");
  EXPECT_EQ(tokenizer["model"]["vocab"],
            (json{{"<|end|>", 0}, {"a", 1}, {"b", 2}, {"ab", 3}, {"<tool>", 4}}));
  EXPECT_EQ(tokenizer["model"]["merges"], json::array({json::array({"a", "b"})}));
  EXPECT_EQ(tokenizer["model"]["byte_fallback"], false);
  EXPECT_EQ(tokenizer["decoder"]["type"], "ByteLevel");
  EXPECT_EQ(tokenizer["pre_tokenizer"]["type"], "ByteLevel");
}

TEST(TokenizerFiles, ControlAndUserDefinedTokensAreAdded) {
  const json added = tokenizer_of(byte_level())["added_tokens"];
  ASSERT_EQ(added.size(), 2U);
  EXPECT_EQ(added[0], (json{{"id", 0},
                            {"content", "<|end|>"},
                            {"single_word", false},
                            {"lstrip", false},
                            {"rstrip", false},
                            {"normalized", false},
                            {"special", true}}));
  EXPECT_EQ(added[1]["content"], "<tool>");
  EXPECT_EQ(added[1]["special"], false);
}

TEST(TokenizerFiles, WithoutTypesOnlyBosAndEosAreSpecial) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .string("tokenizer.ggml.pre", "gpt-2")
      .strings("tokenizer.ggml.tokens", {"!", "<|end|>"})
      .strings("tokenizer.ggml.merges", {})
      .uint32("tokenizer.ggml.padding_token_id", 0)
      .uint32("tokenizer.ggml.eos_token_id", 1);
  const json added = tokenizer_of(builder)["added_tokens"];
  ASSERT_EQ(added.size(), 1U);
  EXPECT_EQ(added[0]["content"], "<|end|>");
}

TEST(TokenizerFiles, EscapesEveryKindOfToken) {
  const std::vector<std::string> tokens = {"\"", "\\", std::string("\0\x1F\n", 3),
                                           "\xF0\x9F\x98\x80", "\x7F"};
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .string("tokenizer.ggml.pre", "gpt-2")
      .strings("tokenizer.ggml.tokens", tokens)
      .strings("tokenizer.ggml.merges", {"\" \\"});
  const json model = tokenizer_of(builder)["model"];
  for (std::size_t id = 0; id < tokens.size(); ++id) EXPECT_EQ(model["vocab"][tokens[id]], id);
  EXPECT_EQ(model["merges"][0], json::array({"\"", "\\"}));
}

TEST(TokenizerFiles, MergesAreCutAtTheFirstSpaceNotAtTheStart) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .string("tokenizer.ggml.pre", "gpt-2")
      .strings("tokenizer.ggml.tokens", {" ", "a b", " a b"})
      .strings("tokenizer.ggml.merges", {"  a b"});
  EXPECT_EQ(tokenizer_of(builder)["model"]["merges"][0], json::array({" ", "a b"}));
}

TEST(TokenizerFiles, AddBosAndEosBecomeATemplate) {
  GgufBuilder builder = byte_level();
  builder.boolean("tokenizer.ggml.add_bos_token", true)
      .boolean("tokenizer.ggml.add_eos_token", true);
  const json post = tokenizer_of(builder)["post_processor"];
  EXPECT_EQ(post["type"], "TemplateProcessing");
  const json token = {{"SpecialToken", {{"id", "<|end|>"}, {"type_id", 0}}}};
  EXPECT_EQ(post["single"],
            json::array({token, json{{"Sequence", {{"id", "A"}, {"type_id", 0}}}}, token}));
  EXPECT_EQ(post["pair"].size(), 6U);
  EXPECT_EQ(post["special_tokens"]["<|end|>"]["ids"], json::array({0}));
}

TEST(TokenizerFiles, AddsNothingUnlessTold) {
  EXPECT_EQ(tokenizer_of(byte_level())["post_processor"], nullptr);
}

TEST(TokenizerFiles, MissingPreIsReadAsGpt2AndNoted) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .strings("tokenizer.ggml.tokens", {"a"})
      .strings("tokenizer.ggml.merges", {});
  EXPECT_THAT(files_of(builder).notes, ElementsAre(HasSubstr("tokenizer.ggml.pre is missing")));
}

TEST(TokenizerFiles, SentencePieceFallsBackToBytesAndMergesByScore) {
  const json tokenizer = tokenizer_of(sentencepiece());
  const json& model = tokenizer["model"];
  EXPECT_EQ(model["byte_fallback"], true);
  EXPECT_EQ(model["fuse_unk"], true);
  EXPECT_EQ(model["unk_token"], "<unk>");
  EXPECT_EQ(model["merges"], json::array({json::array({"a", "b"})}));
  EXPECT_EQ(tokenizer["pre_tokenizer"], nullptr);
  EXPECT_EQ(tokenizer["added_tokens"].size(), 3U);
}

TEST(TokenizerFiles, SentencePiecePrependsASpaceToEverySegment) {
  const json tokenizer = tokenizer_of(sentencepiece());
  EXPECT_EQ(tokenizer["normalizer"]["normalizers"][0],
            (json{{"type", "Prepend"}, {"prepend", "\u2581"}}));
  EXPECT_EQ(tokenizer["decoder"]["decoders"].back()["type"], "Strip");
}

TEST(TokenizerFiles, SentencePieceWithoutPrefixOnlyReplacesSpaces) {
  GgufBuilder builder = sentencepiece();
  builder.boolean("tokenizer.ggml.add_space_prefix", false);
  const json tokenizer = tokenizer_of(builder);
  EXPECT_EQ(tokenizer["normalizer"]["type"], "Replace");
  EXPECT_EQ(tokenizer["decoder"]["decoders"].back()["type"], "Fuse");
}

TEST(TokenizerFiles, SentencePieceAddsBosByItself) {
  const TokenizerFiles files = files_of(sentencepiece());
  EXPECT_EQ(json::parse(files.tokenizer_json)["post_processor"]["single"][0]["SpecialToken"]["id"],
            "<s>");
  EXPECT_EQ(json::parse(files.tokenizer_config_json)["bos_token"], "<s>");
}

TEST(TokenizerFiles, ConfigHasTemplateAndTokens) {
  GgufBuilder builder = byte_level();
  builder.string("tokenizer.chat_template", "{{ x }}");
  const json config = json::parse(files_of(builder).tokenizer_config_json);
  EXPECT_EQ(config["chat_template"], "{{ x }}");
  EXPECT_EQ(config["eos_token"], "<|end|>");
  EXPECT_EQ(config["pad_token"], nullptr);
  EXPECT_EQ(config["add_bos_token"], false);
}

TEST(TokenizerFiles, SeveralTemplatesAreAListOfNames) {
  GgufBuilder builder = byte_level();
  builder.string("tokenizer.chat_template", "plain")
      .strings("tokenizer.chat_templates", {"tool_use"})
      .string("tokenizer.chat_template.tool_use", "tools");
  const json config = json::parse(files_of(builder).tokenizer_config_json);
  EXPECT_EQ(config["chat_template"],
            json::array({json{{"name", "default"}, {"template", "plain"}},
                         json{{"name", "tool_use"}, {"template", "tools"}}}));
}

TEST(TokenizerFiles, TakesAHuggingFaceTokenizerAtItsWord) {
  GgufBuilder builder = byte_level();
  builder.string("tokenizer.huggingface.json", "{\"version\":\"1.0\"}");
  EXPECT_EQ(files_of(builder).tokenizer_json, "{\"version\":\"1.0\"}");
}

TEST(TokenizerFiles, AreEmptyWithoutAVocabulary) {
  EXPECT_THAT(files_of(GgufBuilder()).tokenizer_json, IsEmpty());
}

TEST(TokenizerFiles, EmptyTokensGetANameOfTheirOwn) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .string("tokenizer.ggml.pre", "gpt-2")
      .strings("tokenizer.ggml.tokens", {"a", "", ""})
      .strings("tokenizer.ggml.merges", {});
  EXPECT_EQ(tokenizer_of(builder)["model"]["vocab"],
            (json{{"a", 0}, {"[EMPTY_1]", 1}, {"[EMPTY_2]", 2}}));
}

TEST(TokenizerFiles, NamesTokenizersItDoesNotKnow) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "t5").strings("tokenizer.ggml.tokens", {"a"});
  EXPECT_THAT(message_of<UnsupportedError>([&] { files_of(builder); }),
              HasSubstr("tokenizer.ggml.model is t5; supported tokenizers are gpt2, llama"));
}

TEST(TokenizerFiles, RefusesEqualTokens) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2").strings("tokenizer.ggml.tokens", {"a", "b", "a"});
  EXPECT_THAT(format_error(builder), HasSubstr("tokens 0 and 2 are equal: a"));
}

TEST(TokenizerFiles, RefusesTokensThatAreNotUtf8) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2").strings("tokenizer.ggml.tokens", {"a", "\x80"});
  EXPECT_THAT(format_error(builder), HasSubstr("token 1 is not UTF-8"));
}

TEST(TokenizerFiles, RefusesTokensOfEndlessLength) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .strings("tokenizer.ggml.tokens", {std::string(70000, 'x')});
  EXPECT_THAT(format_error(builder), HasSubstr("token 0 has 70000 bytes; 65536 are allowed"));
}

TEST(TokenizerFiles, RefusesListsOfDifferentLengths) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "gpt2")
      .strings("tokenizer.ggml.tokens", {"a", "b"})
      .int32s("tokenizer.ggml.token_type", {1});
  EXPECT_THAT(format_error(builder), HasSubstr("token_type: 1 entries for 2 tokens"));
}

TEST(TokenizerFiles, RefusesIdsBeyondTheVocabulary) {
  GgufBuilder builder = byte_level();
  builder.uint32("tokenizer.ggml.padding_token_id", 5);
  EXPECT_THAT(format_error(builder),
              HasSubstr("tokenizer.ggml.padding_token_id: 5 is beyond the 5 tokens"));
}

TEST(TokenizerFiles, RefusesMergesThatAreNotTwoTokens) {
  for (const char* merge : {"", "ab", " ab", "ab "}) {
    GgufBuilder builder;
    builder.string("tokenizer.ggml.model", "gpt2")
        .string("tokenizer.ggml.pre", "gpt-2")
        .strings("tokenizer.ggml.tokens", {"a", "b"})
        .strings("tokenizer.ggml.merges", {merge});
    EXPECT_THAT(format_error(builder), HasSubstr("tokenizer.ggml.merges: entry 0")) << merge;
  }
}

TEST(TokenizerFiles, RefusesScoresThatAreNotFinite) {
  GgufBuilder builder;
  builder.string("tokenizer.ggml.model", "llama")
      .strings("tokenizer.ggml.tokens", {"a"})
      .float32s("tokenizer.ggml.scores", {std::numeric_limits<float>::quiet_NaN()});
  EXPECT_THAT(format_error(builder), HasSubstr("the score of token 0 is not finite"));
}

TEST(TokenizerFiles, NamesWhatATokenizerCannotDoWithout) {
  GgufBuilder gpt2;
  gpt2.string("tokenizer.ggml.model", "gpt2").strings("tokenizer.ggml.tokens", {"a"});
  EXPECT_THAT(format_error(gpt2), HasSubstr("tokenizer.ggml.merges is missing"));
  GgufBuilder llama;
  llama.string("tokenizer.ggml.model", "llama").strings("tokenizer.ggml.tokens", {"a"});
  EXPECT_THAT(format_error(llama), HasSubstr("tokenizer.ggml.scores is missing"));
}

}  // namespace
}  // namespace shoehorn::gguf
