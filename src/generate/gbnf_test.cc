#include "generate/gbnf.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "generate/grammar_constraint.h"
#include "generate/testing_grammar.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::match;
using testing::Match;

std::string refusal(std::string_view gbnf) {
  try {
    parse_gbnf(gbnf);
  } catch (const FormatError& error) {
    return error.what();
  }
  return "";
}

TEST(ParseGbnf, MatchesLiteralsWithEscapes) {
  const std::string_view grammar = R"(root ::= "a\"\\\n\x41\u00e9")";
  EXPECT_EQ(match(grammar, "a\"\\\nA\xc3\xa9"), Match::kWhole);
  EXPECT_EQ(match(grammar, "a\"\\\nA\xc3"), Match::kBeginning);
  EXPECT_EQ(match(grammar, "b"), Match::kNo);
}

TEST(ParseGbnf, MatchesClassesByCharacters) {
  EXPECT_EQ(match("root ::= [a-cx]", "b"), Match::kWhole);
  EXPECT_EQ(match("root ::= [a-cx]", "d"), Match::kNo);
  EXPECT_EQ(match("root ::= [^a-c]", "\xe2\x82\xac"), Match::kWhole);
  EXPECT_EQ(match("root ::= [^a-c]", "\xe2\x82"), Match::kBeginning);
  EXPECT_EQ(match("root ::= [^a-c]", "\x80"), Match::kNo);
  EXPECT_EQ(match("root ::= [α-ω]", "λ"), Match::kWhole);
  EXPECT_EQ(match("root ::= [α-ω]", "l"), Match::kNo);
  EXPECT_EQ(match("root ::= . \"!\"", "\xf0\x9f\x98\x80!"), Match::kWhole);
  EXPECT_EQ(match(R"(root ::= [a\-\]])", "]"), Match::kWhole);
  EXPECT_EQ(match("root ::= [a-]", "-"), Match::kWhole);
}

TEST(ParseGbnf, MatchesRepetitions) {
  for (const auto& [grammar, least, most] : {std::tuple("root ::= \"ab\"*", 0, 9),
                                             {"root ::= \"ab\"+", 1, 9},
                                             {"root ::= \"ab\"?", 0, 1},
                                             {"root ::= \"ab\"{3}", 3, 3},
                                             {"root ::= \"ab\"{2,}", 2, 9},
                                             {"root ::= \"ab\"{1,4}", 1, 4},
                                             {"root ::= \"ab\"{0,0}", 0, 0}}) {
    std::string text;
    for (int count = 0; count < 9; ++count, text += "ab") {
      const bool whole = count >= least && count <= most;
      EXPECT_EQ(match(grammar, text) == Match::kWhole, whole) << grammar << " " << count;
    }
  }
}

TEST(ParseGbnf, MatchesGroupsAlternativesAndComments) {
  const std::string_view grammar =
      "# a list\n"
      "root ::= item (\",\" item)* # of items\n"
      "item ::= \"x\" |\n"
      "         (\"y\"\n \"z\")\n";
  EXPECT_EQ(match(grammar, "x,yz,x"), Match::kWhole);
  EXPECT_EQ(match(grammar, "x,"), Match::kBeginning);
  EXPECT_EQ(match(grammar, "xy"), Match::kNo);
}

TEST(ParseGbnf, MatchesWhatIsNested) {
  const std::string_view grammar = R"g(root ::= "(" root ")" root | "")g";
  EXPECT_EQ(match(grammar, "(()(()))()"), Match::kWhole);
  EXPECT_EQ(match(grammar, "(()"), Match::kBeginning);
  EXPECT_EQ(match(grammar, "())"), Match::kNo);
}

TEST(ParseGbnf, NamesLineAndRuleOfAMistake) {
  EXPECT_THAT(refusal("root ::= a\n\na ::= \"x"), HasSubstr("line 3, rule a: ends inside"));
  EXPECT_THAT(refusal("root := \"x\""), HasSubstr("\"::=\" was expected"));
  EXPECT_THAT(refusal("root ::= b"), HasSubstr("rule b is used and not defined"));
  EXPECT_THAT(refusal("start ::= \"x\""), HasSubstr("no rule named root"));
  EXPECT_THAT(refusal("root ::= \"x\"\nroot ::= \"y\""), HasSubstr("defined twice"));
  EXPECT_THAT(refusal("root ::= (\"x\""), HasSubstr("no \")\""));
  EXPECT_THAT(refusal("root ::= \"x\" )"), HasSubstr("end of the line"));
  EXPECT_THAT(refusal("root ::= [z-a]"), HasSubstr("backwards"));
  EXPECT_THAT(refusal("root ::= []"), HasSubstr("no character"));
  EXPECT_THAT(refusal("root ::= \"x\"{3,2}"), HasSubstr("backwards"));
  EXPECT_THAT(refusal("root ::= \"x\"{99999}"), HasSubstr("more than 4096"));
  EXPECT_THAT(refusal("root ::= \"\\q\""), HasSubstr("backslash"));
  EXPECT_THAT(refusal("root ::= \"\\u12\""), HasSubstr("hexadecimal"));
  EXPECT_THAT(refusal("root ::= \"\\uD800\""), HasSubstr("no character"));
  EXPECT_THAT(refusal("root ::= \"\xff\""), HasSubstr("not UTF-8"));
  EXPECT_THAT(refusal("root ::= *"), HasSubstr("what is"));
}

TEST(ParseGbnf, RefusesWhatNeverEnds) {
  EXPECT_THAT(refusal("root ::= root \"x\" | \"y\""), HasSubstr("left recursion"));
  EXPECT_THAT(refusal("root ::= a\na ::= b* a \"x\" | \"y\"\nb ::= \"z\""),
              HasSubstr("left recursion"));
  EXPECT_THAT(refusal("root ::= \"x\" root"), HasSubstr("no finite text"));
  EXPECT_THAT(refusal("root ::= (\"\")*"), HasSubstr("left recursion"));
}

TEST(ParseGbnf, BoundsWhatAGrammarTakes) {
  EXPECT_THAT(refusal("root ::= " + std::string(100, '(') + "\"x\"" + std::string(100, ')')),
              HasSubstr("nested deeper"));
  std::string doubling = "root ::= \"x\"";
  for (int i = 0; i < 3; ++i) doubling += "{4000}";
  EXPECT_NE(refusal(doubling), "");  // one repetition an item
  EXPECT_THAT(refusal("root ::= (((\"x\" \"y\"){4000} \"z\"){4000} \"z\"){4000}"), IsEmpty());
  EXPECT_THAT(refusal(std::string(2 << 20, ' ')), HasSubstr("bytes"));
}

// Tokens under a grammar.

const std::vector<std::optional<std::string>> kTokens = {"a",          "ab", "b",    "abc",  "c",
                                                         std::nullopt, "",   "\xc3", "\xa9", "bc"};
constexpr std::int32_t kEos = 5;

std::vector<std::int32_t> allowed(TokenConstraint& constraint) {
  std::vector<float> logits(kTokens.size() + 2, 0.0f);  // the model has two more than the tokenizer
  constraint.restrict(logits);
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] == 0) ids.push_back(static_cast<std::int32_t>(i));
  }
  return ids;
}

TEST(GrammarConstraint, AllowsTokensThatFitWhole) {
  const std::int32_t eos = kEos;
  auto constraint =
      make_grammar_constraint(parse_gbnf("root ::= \"ab\" \"c\"?"), kTokens, {&eos, 1});
  EXPECT_THAT(allowed(*constraint), ElementsAre(0, 1, 3));
  auto other = constraint->clone();
  constraint->accept(1);  // ab
  EXPECT_THAT(allowed(*constraint), ElementsAre(4, kEos));
  EXPECT_FALSE(constraint->is_complete());
  constraint->accept(4);  // c
  EXPECT_THAT(allowed(*constraint), ElementsAre(kEos));
  EXPECT_TRUE(constraint->is_complete());
  other->accept(0);  // a
  EXPECT_THAT(allowed(*other), ElementsAre(2, 9));
}

TEST(GrammarConstraint, AllowsPartsOfCharacters) {
  const std::int32_t eos = kEos;
  auto constraint = make_grammar_constraint(parse_gbnf("root ::= [é]+"), kTokens, {&eos, 1});
  EXPECT_THAT(allowed(*constraint), ElementsAre(7));
  constraint->accept(7);
  EXPECT_THAT(allowed(*constraint), ElementsAre(8));
  constraint->accept(8);
  EXPECT_THAT(allowed(*constraint), ElementsAre(kEos, 7));
}

}  // namespace
}  // namespace shoehorn
