#include "generate/prompt_lookup.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::int32_t> lookup(const std::vector<std::int32_t>& history,
                                 const PromptLookupOptions& options = {}, std::size_t most = 100) {
  PromptLookup lookup(options);
  const DraftOffer offer = lookup.offer(history, most);
  const auto ids = lookup.draft(history, offer.most);
  EXPECT_EQ(ids.size(), offer.most);
  return {ids.begin(), ids.end()};
}

TEST(PromptLookup, GoesOnAsTheTextDidBefore) {
  EXPECT_THAT(lookup({1, 2, 3, 4, 5, 9, 1, 2}, {.prompt_lookup_num_tokens = 3}),
              ElementsAre(3, 4, 5));
}

TEST(PromptLookup, TheLongestMatchWins) {
  EXPECT_THAT(lookup({1, 2, 3, 7, 9, 2, 3, 8, 0, 1, 2, 3}, {.prompt_lookup_num_tokens = 1}),
              ElementsAre(7));
}

TEST(PromptLookup, OfEquallyLongMatchesTheLatestWins) {
  EXPECT_THAT(lookup({4, 7, 4, 8, 4, 9, 4}, {.prompt_lookup_num_tokens = 1}), ElementsAre(9));
}

TEST(PromptLookup, ComparesNoMoreThanMaxMatchingNgramSize) {
  // Both matches count as 1 long, though the first is longer.
  EXPECT_THAT(lookup({1, 2, 3, 7, 9, 3, 8, 1, 2, 3},
                     {.prompt_lookup_num_tokens = 1, .max_matching_ngram_size = 1}),
              ElementsAre(8));
}

TEST(PromptLookup, ATextThatRepeatsItselfGoesOnRepeating) {
  EXPECT_THAT(lookup({0, 5, 6, 5, 6}, {.prompt_lookup_num_tokens = 5}), ElementsAre(5, 6, 5, 6, 5));
}

TEST(PromptLookup, NothingIsOfferedWhereTheLastIdIsNew) {
  EXPECT_THAT(lookup({1, 2, 3}), IsEmpty());
  EXPECT_THAT(lookup({1}), IsEmpty());
}

TEST(PromptLookup, NothingIsGuessedFromAnEndTokenOn) {
  const std::vector<std::int32_t> eos = {3};
  EXPECT_THAT(lookup({1, 2, 3, 4, 1}, {.eos_token_id = eos}), ElementsAre(2));
}

TEST(PromptLookup, GuessesNoMoreThanItIsAskedFor) {
  EXPECT_THAT(lookup({1, 2, 3, 4, 1}, {}, 2), ElementsAre(2, 3));
  EXPECT_THAT(lookup({1, 2, 3, 4, 1}, {}, 0), IsEmpty());
}

TEST(PromptLookup, LongerMatchesAreOfAKindThatIsLikelierRight) {
  PromptLookup lookup({});
  const DraftOffer one = lookup.offer(std::vector<std::int32_t>{8, 1, 2, 9, 1}, 4);
  const DraftOffer three = lookup.offer(std::vector<std::int32_t>{6, 7, 8, 1, 2, 6, 7, 8}, 4);
  EXPECT_NE(one.kind, three.kind);
  EXPECT_LT(one.prior, three.prior);
}

TEST(PromptLookup, NumbersOf0AreRefused) {
  EXPECT_THROW(PromptLookup({.prompt_lookup_num_tokens = 0}), ArgumentError);
  EXPECT_THROW(PromptLookup({.max_matching_ngram_size = 0}), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
