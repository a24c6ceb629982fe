#include "checkpoint/gguf_merges.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"

namespace shoehorn::gguf {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Piece {
  std::string_view text;
  float score;
  TokenType type = TokenType::kNormal;
};

std::vector<std::string> merges_of(const std::vector<Piece>& pieces) {
  Vocabulary vocabulary;
  for (const Piece& piece : pieces) {
    vocabulary.tokens.push_back(piece.text);
    vocabulary.scores.push_back(piece.score);
    vocabulary.types.push_back(piece.type);
  }
  std::vector<std::string> texts;
  for (const Merge& merge :
       merges_from_scores(vocabulary, TokenIndex(vocabulary.tokens), "m.gguf")) {
    texts.push_back(std::string(vocabulary.tokens[merge.left]) + " " +
                    std::string(vocabulary.tokens[merge.right]));
  }
  return texts;
}

TEST(MergesFromScores, GoFromTheHighestScoreDown) {
  EXPECT_THAT(merges_of({{"ab", -5}, {"bc", -1}, {"a", -9}, {"b", -9}, {"c", -9}}),
              ElementsAre("b c", "a b"));
}

TEST(MergesFromScores, ListEverySplitByTheLeftId) {
  EXPECT_THAT(merges_of({{"ab", -1}, {"bc", -2}, {"abc", -3}, {"a", -9}, {"b", -9}, {"c", -9}}),
              ElementsAre("a b", "b c", "ab c", "a bc"));
}

TEST(MergesFromScores, EqualScoresKeepTheOrderOfIds) {
  EXPECT_THAT(merges_of({{"bb", -1}, {"aa", -1}, {"a", -2}, {"b", -2}}), ElementsAre("b b", "a a"));
}

TEST(MergesFromScores, CutBetweenCharactersOnly) {
  EXPECT_THAT(
      merges_of({{"t\xC3\xA9", -1}, {"t", -2}, {"\xC3\xA9", -2}, {"t\xC3", -3}, {"\xA9", -3}}),
      ElementsAre("t \xC3\xA9"));
}

TEST(MergesFromScores, NeverMakeControlUnknownOrByteTokens) {
  for (const TokenType type : {TokenType::kControl, TokenType::kUnknown, TokenType::kByte}) {
    EXPECT_THAT(merges_of({{"ab", 0, type}, {"a", -1}, {"b", -1}}), IsEmpty());
  }
}

TEST(MergesFromScores, MakeUserTokensInTheirTurn) {
  EXPECT_THAT(merges_of({{"aa", -1}, {"a", -9}, {"aaa", -1000, TokenType::kUserDefined}}),
              ElementsAre("a a", "aa a", "a aa"));
}

TEST(MergesFromScores, NeverJoinControlTokens) {
  EXPECT_THAT(merges_of({{"ab", -1}, {"a", 0, TokenType::kControl}, {"b", -2}}), IsEmpty());
}

// Runs of one letter split everywhere: the text of the merges grows with the cube of their length.
TEST(MergesFromScores, RefuseAVocabularyThatExplodes) {
  std::vector<std::string> texts;
  std::vector<Piece> pieces;
  for (std::size_t length = 1; length <= 500; ++length) texts.emplace_back(length, 'a');
  for (const std::string& text : texts) pieces.push_back({text, 0.0F});
  EXPECT_THAT(
      testing::message_of<FormatError>([&] { merges_of(pieces); }),
      HasSubstr("m.gguf: tokenizer.ggml.tokens: the tokens split into one another too often"));
}

}  // namespace
}  // namespace shoehorn::gguf
