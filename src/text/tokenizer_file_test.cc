// Files that are wrong, and rules of the format that the recorded tokenizers do not reach.
#include "text/tokenizer_file.h"

#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/detokenizer.h"
#include "shoehorn/error.h"
#include "shoehorn/tokenizer.h"

namespace shoehorn {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

Tokenizer from(const Json& file) {
  return Tokenizer::from_json(file.dump(), "t.json");
}

// A BPE tokenizer of single characters and the given merges.
Json bpe(const std::string& characters,
         const std::vector<std::pair<std::string, std::string>>& merges) {
  Json vocab = Json::object();
  for (const char c : characters) vocab[std::string(1, c)] = vocab.size();
  Json list = Json::array();
  for (const auto& [left, right] : merges) {
    if (!vocab.contains(left + right)) vocab[left + right] = vocab.size();
    list.push_back({left, right});
  }
  return {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

Json word_level() {
  return {{"model",
           {{"type", "WordLevel"}, {"vocab", {{"a", 0}, {"<unk>", 1}}}, {"unk_token", "<unk>"}}}};
}

Json added(const std::string& content, bool special, const Json& more = Json::object()) {
  Json token = {{"content", content}, {"special", special}, {"normalized", false}};
  token.update(more);
  return token;
}

TEST(FromJson, NamesTheFileAndThePlaceOfWhatIsWrong) {
  Json file = word_level();
  file["decoder"] = {{"type", "Sequence"}, {"decoders", {{{"type", "Fuse"}}, {{"type", "Strip"}}}}};
  EXPECT_THAT([&] { from(file); },
              ThrowsMessage<FormatError>(AllOf(
                  HasSubstr("t.json"), HasSubstr("decoder.decoders[1]"), HasSubstr("start"))));
}

TEST(FromJson, RefusesComponentsItDoesNotKnowByTypeAndPlace) {
  for (const char* part : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    Json file = word_level();
    file[part] = {{"type", "Newest"}};
    EXPECT_THAT([&] { from(file); },
                ThrowsMessage<UnsupportedError>(AllOf(HasSubstr(part), HasSubstr("Newest"))));
  }
  Json file = word_level();
  file["model"]["type"] = "Newest";
  EXPECT_THROW(from(file), UnsupportedError);
}

TEST(FromJson, RefusesModelsThatContradictThemselves) {
  Json unknown_merge = bpe("ab", {});
  unknown_merge["model"]["merges"] = Json::array({Json::array({"a", "x"})});
  EXPECT_THAT([&] { from(unknown_merge); }, ThrowsMessage<FormatError>(HasSubstr("\"x\"")));
  Json two_spaces = bpe("ab", {});
  two_spaces["model"]["merges"] = Json::array({"a b c"});
  EXPECT_THROW(from(two_spaces), FormatError);
  Json empty = word_level();
  empty["model"]["vocab"] = Json::object();
  EXPECT_THROW(from(empty), FormatError);
  const Json unk_id = {{"model", {{"type", "Unigram"}, {"vocab", {{"a", -1.0}}}, {"unk_id", 1}}}};
  EXPECT_THROW(from(unk_id), FormatError);
}

TEST(FromJson, RefusesIdsThatDoNotFit) {
  Json file = word_level();
  file["model"]["vocab"]["b"] = 4294967296;
  EXPECT_THROW(from(file), FormatError);
  file["model"]["vocab"]["b"] = -1;
  EXPECT_THROW(from(file), FormatError);
}

TEST(FromJson, TakesAHugeIdWithoutATableOfThatSize) {
  Json file = word_level();
  file["model"]["vocab"]["b"] = 2147483647;
  const Tokenizer tokenizer = from(file);
  EXPECT_EQ(tokenizer.id_to_token(2147483647), "b");
  EXPECT_EQ(tokenizer.id_to_token(2147483646), std::nullopt);
  EXPECT_EQ(tokenizer.vocab_size(), 3U);
}

TEST(FromJson, RefusesTemplatesWithTokensThatHaveNoIds) {
  Json file = word_level();
  const Json items = {{{"SpecialToken", {{"id", "[X]"}, {"type_id", 0}}}}};
  file["post_processor"] = {
      {"type", "TemplateProcessing"}, {"single", items}, {"pair", items}, {"special_tokens", {}}};
  EXPECT_THAT([&] { from(file); }, ThrowsMessage<FormatError>(HasSubstr("[X]")));
}

TEST(FromJson, RefusesTemplatesThatMakeManyTextsOfOne) {
  Json file = word_level();
  const Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  file["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", std::vector<Json>(17, sequence)},
                            {"pair", Json::array()},
                            {"special_tokens", Json::object()}};
  EXPECT_THAT([&] { from(file); }, ThrowsMessage<FormatError>(HasSubstr("more than 16 sequences")));
}

TEST(FromJson, RefusesBrokenCharsmaps) {
  for (const char* charsmap : {"", "AAAA", "/////w==", "!!!!", "CAAAAAA="}) {
    Json file = word_level();
    file["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", charsmap}};
    EXPECT_THROW(from(file), FormatError) << charsmap;
  }
}

TEST(FromJson, RefusesDeepSequences) {
  Json nested = {{"type", "NFC"}};
  for (int i = 0; i < 100; ++i) nested = {{"type", "Sequence"}, {"normalizers", {nested}}};
  Json file = word_level();
  file["normalizer"] = nested;
  EXPECT_THROW(from(file), FormatError);
}

TEST(FromJson, WarnsOfAddedTokensWhoseIdDiffersFromTheFile) {
  Json file = word_level();
  file["added_tokens"] = {added("x", true, {{"id", 20}}), added("y", true, {{"id", 3}})};
  const Tokenizer tokenizer = from(file);
  EXPECT_EQ(tokenizer.token_to_id("x"), 2);
  EXPECT_EQ(tokenizer.token_to_id("y"), 3);
  EXPECT_THAT(tokenizer.warnings(), ElementsAre(HasSubstr("\"x\"")));
}

TEST(TokenizerFile, ReadsScoresAsTheLibraryDoesUnlessTheyAreMarkedAsExact) {
  const std::string list = R"("vocab":[["a",-3.9359233379364014]]}})";
  const text::TokenizerFile plain(R"({"model":{"type":"Unigram",)" + list);
  EXPECT_THAT(plain.scores, ElementsAre(-3.935923337936402));
  const text::TokenizerFile exact(R"({"model":{"type":"Unigram","exact_scores":true,)" + list);
  EXPECT_THAT(exact.scores, ElementsAre(-3.9359233379364014));
}

TEST(Encode, StopsReplacementsThatGrowWithoutEnd) {
  Json file = word_level();
  const Json grow = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1000, 'a')}};
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", {grow, grow, grow, grow}}};
  EXPECT_THROW(from(file).encode("aaa"), FormatError);
}

TEST(Encode, FailsWhereTheUnknownTokenIsMissing) {
  Json file = word_level();
  file["model"]["unk_token"] = "gone";
  EXPECT_THAT(from(file).encode("a").ids, ElementsAre(0));
  EXPECT_THAT([&] { from(file).encode("zzz"); }, ThrowsMessage<FormatError>(HasSubstr("gone")));
}

TEST(Encode, TreatsSpecialTokensAsTextIfAskedTo) {
  Json file = bpe("<s>ab", {});
  file["added_tokens"] = {added("<s>", true), added("ab", false)};
  const Tokenizer tokenizer = from(file);
  EXPECT_EQ(tokenizer.encode("<s>ab").ids.size(), 2U);
  EXPECT_EQ(tokenizer.encode("<s>ab", {.match_special_tokens = false}).ids.size(), 4U);
}

TEST(Encode, TakesTheLongestAddedTokenWhateverItsOrderOrKind) {
  Json file = bpe("ab", {});
  file["added_tokens"] = {added("a", true), added("ab", false)};
  EXPECT_THAT(from(file).encode("aba").ids, ElementsAre(2, 0));
}

TEST(Encode, MergesTheLowestRankAndTheLeftmostFirst) {
  const Tokenizer tokenizer = from(bpe("abc", {{"b", "c"}, {"a", "b"}, {"a", "a"}}));
  EXPECT_THAT(tokenizer.encode("abc").ids, ElementsAre(0, 3));
  EXPECT_THAT(tokenizer.encode("aaa").ids, ElementsAre(5, 0));
}

TEST(Encode, GivesTheSameForLongPiecesAsForShortOnes) {
  const Tokenizer tokenizer =
      from(bpe("ab", {{"a", "b"}, {"ab", "ab"}, {"abab", "abab"}, {"b", "a"}}));
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "abababab";
  const std::vector<std::int32_t> eight = tokenizer.encode("abababab").ids;
  std::vector<std::int32_t> expected;
  for (int i = 0; i < 1000; ++i) expected.insert(expected.end(), eight.begin(), eight.end());
  EXPECT_EQ(tokenizer.encode(text).ids, expected);
}

TEST(Encode, WorksFromManyThreads) {
  const Tokenizer tokenizer = from(bpe("abc ", {{"a", "b"}, {"ab", "c"}}));
  const auto expected = tokenizer.encode("abc cab bca").ids;
  std::vector<std::vector<std::int32_t>> found(8);
  std::vector<std::thread> threads;
  threads.reserve(found.size());
  for (auto& ids : found) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) ids = tokenizer.encode("abc cab bca").ids;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& ids : found) EXPECT_EQ(ids, expected);
}

TEST(Encode, ReplacesBytesThatAreNotUtf8) {
  Json file = word_level();
  file["model"]["vocab"]["\uFFFD"] = 2;
  EXPECT_THAT(from(file).encode("\xC3").ids, ElementsAre(2));
}

TEST(Decode, LeavesOutIdsThatDoNotExist) {
  const std::vector<std::int32_t> ids = {-1, 0, 99, 2147483647};
  EXPECT_EQ(from(word_level()).decode(ids), "a");
}

TEST(DetokenizerStream, ReturnsNothingForNoTokens) {
  const Tokenizer tokenizer = from(word_level());
  DetokenizerStream stream(tokenizer, false);
  EXPECT_THAT(stream.flush(), IsEmpty());
}

}  // namespace
}  // namespace shoehorn
