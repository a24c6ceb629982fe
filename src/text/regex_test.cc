#include "text/regex.h"

#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn::text {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  const Regex regex(pattern);
  RegexSearch search(regex);
  search.start(text);
  std::vector<std::string> found;
  for (RegexMatch match; search.next(match);) {
    found.push_back(text.substr(match.begin, match.end - match.begin));
  }
  return found;
}

TEST(RegexSearch, TakesTheFirstAlternativeNotTheLongest) {
  EXPECT_THAT(matches("a|ab", "ab"), ElementsAre("a"));
}

TEST(RegexSearch, GivesBackUnlessPossessive) {
  EXPECT_THAT(matches("a+ab", "aaab"), ElementsAre("aaab"));
  EXPECT_THAT(matches("a++ab", "aaab"), IsEmpty());
  EXPECT_THAT(matches("(?>a+)ab", "aaab"), IsEmpty());
}

TEST(RegexSearch, LeavesOutEmptyMatchesThatTouchAMatch) {
  EXPECT_THAT(matches("x*", "axb"), ElementsAre("", "x", ""));
}

TEST(RegexSearch, KeepsTheLastSpaceForTheNextWord) {
  EXPECT_THAT(matches(R"(\s+(?!\S)| ?\w+)", "   a"), ElementsAre("  ", " a"));
}

TEST(RegexSearch, LooksBehindForAlternativesOfDifferentLength) {
  EXPECT_THAT(matches("(?<=a|bcd)x", "ax bcdx cdx"), ElementsAre("x", "x"));
  EXPECT_THAT(matches("(?<!a)b", "ab bb"), ElementsAre("b", "b"));
}

TEST(RegexSearch, FoldsCaseAsUnicodeDoes) {
  EXPECT_THAT(matches("(?i:'s)", "'S '\u017F"), ElementsAre("'S", "'\u017F"));
  EXPECT_THAT(matches("(?i)[j-l]", "\u212A\u0130"), ElementsAre("\u212A"));
}

TEST(RegexSearch, DoesNotFoldPropertiesOutsideOfBrackets) {
  EXPECT_THAT(matches(R"((?i)\p{Lu})", "aB"), ElementsAre("B"));
  EXPECT_THAT(matches(R"((?i)[\p{Lu}])", "aB"), ElementsAre("a", "B"));
}

TEST(RegexSearch, HasMoreWordCharactersOutsideOfBrackets) {
  EXPECT_THAT(matches(R"(\w+)", "a\u00B2"), ElementsAre("a\u00B2"));
  EXPECT_THAT(matches(R"([\w]+)", "a\u00B2"), ElementsAre("a"));
}

TEST(RegexSearch, IntersectsAndNestsClasses) {
  EXPECT_THAT(matches("[a-z&&[^aeiou]]+", "street"), ElementsAre("str", "t"));
  EXPECT_THAT(matches("[a[0-9]-]+", "a-1b"), ElementsAre("a-1"));
}

TEST(RegexSearch, TakesMForDotAllAndCaretForEveryLine) {
  EXPECT_THAT(matches("a.b", "a\nb"), IsEmpty());
  EXPECT_THAT(matches("(?m:a.b)", "a\nb"), ElementsAre("a\nb"));
  EXPECT_THAT(matches("^.", "a\nb\n"), ElementsAre("a", "b"));
}

TEST(RegexSearch, CountsPlusAfterAnIntervalAsAnotherQuantifier) {
  EXPECT_THAT(matches("a{2}+b", "aaaab"), ElementsAre("aaaab"));
  EXPECT_THAT(matches("a{,2}", "aaa"), ElementsAre("aa", "a"));
}

TEST(RegexSearch, FollowsBackReferences) {
  EXPECT_THAT(matches(R"((\w)\1)", "abbccc"), ElementsAre("bb", "cc"));
}

// Each of these takes a backtracking matcher without a memo longer than anyone would wait.
TEST(RegexSearch, NeedsLinearTimeWherePlainBacktrackingIsExponential) {
  const std::string as(20000, 'a');
  EXPECT_THAT(matches("(?:a|aa|b)*c", as), IsEmpty());
  EXPECT_THAT(matches("(?:[^b]|.)+?1", as), IsEmpty());
  EXPECT_THAT(matches("(?=(?:a|aa)+$)b", as + "c"), IsEmpty());
}

TEST(RegexSearch, NeedsLinearTimeWhereEveryStartLooksAtTheRest) {
  EXPECT_THAT(matches(R"(\s+$)", std::string(50000, ' ') + "x"), IsEmpty());
  EXPECT_EQ(matches(R"(\d{1,3}(?=(?:\d{3})*\b))", std::string(30000, '1')).size(), 10000U);
}

TEST(RegexSearch, GivesUpWithAnErrorThatNamesThePattern) {
  EXPECT_THAT([] { matches("(a|aa)*\\1c", std::string(2000, 'a')); },
              ThrowsMessage<UnsupportedError>(HasSubstr("(a|aa)*")));
}

TEST(Regex, RefusesWhatItDoesNotUnderstand) {
  for (const char* pattern :
       {"(", ")", "[", "[a", "*a", "a(?s)b", "\\p{Nonsense}", "[[:nonsense:]]", "(?<name", "\\",
        "[b-a]", "a{3,2}", "\\1", "\\x{110000}", "(?=a", "\\k<a>", "\\xE9"}) {
    EXPECT_THROW(Regex{pattern}, FormatError) << pattern;
  }
}

TEST(Regex, RefusesProgramsThatGrowTooLarge) {
  EXPECT_THROW(Regex{"(?:(?:(?:ab){1000}){1000}){1000}"}, FormatError);
  EXPECT_THROW(Regex{std::string(70000, 'a')}, FormatError);
  EXPECT_THROW(Regex{std::string(1000, '(') + std::string(1000, ')')}, FormatError);
}

}  // namespace
}  // namespace shoehorn::text
