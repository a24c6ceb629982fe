#include "generate/speculation.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "generate/draft_model.h"
#include "generate/prompt_lookup.h"
#include "generate/sampler.h"
#include "generate/table_logits.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kVocab = 48;
const std::vector<std::int32_t> kPrompt = {5, 11, 17};

/// Its logits depend on the last two ids. Counts passes; each takes a second of a clock that stands
/// still otherwise.
class PairModel : public CheckingSource {
 public:
  explicit PairModel(bool gives_likeliest = false) : gives_likeliest_(gives_likeliest) {}

  std::span<const float> prefill(std::span<const std::int32_t> ids) override { return feed(ids); }
  std::span<const float> next(std::int32_t id) override { return feed({&id, 1}); }
  std::optional<std::int32_t> likeliest(std::span<const std::int32_t> ids) override {
    if (!gives_likeliest_) return std::nullopt;
    return greedy_token(feed(ids));
  }
  std::span<const float> check(std::span<const std::int32_t> ids) override {
    rows_.clear();
    ++passes;
    for (const std::int32_t id : ids) {
      known.push_back(id);
      const auto logits = after();
      rows_.insert(rows_.end(), logits.begin(), logits.end());
    }
    most_known = std::max(most_known, known.size());
    return rows_;
  }
  std::span<const std::int32_t> check_likeliest(std::span<const std::int32_t> ids) override {
    const auto rows = check(ids);
    best_.clear();
    for (std::size_t i = 0; i < ids.size(); ++i) {
      best_.push_back(greedy_token(rows.subspan(i * kVocab, kVocab)));
    }
    return best_;
  }
  void truncate(std::size_t length) override {
    ASSERT_LE(length, known.size());
    known.resize(length);
  }

  std::vector<float> after() const {
    const std::int64_t last = known.back();
    const std::int64_t before = known.size() > 1 ? known[known.size() - 2] : 0;
    return table_logits((7 * last + before) % 400, kVocab, 65536);
  }

  std::vector<std::int32_t> known;
  std::size_t most_known = 0;
  int passes = 0;

 private:
  std::span<const float> feed(std::span<const std::int32_t> ids) {
    known.insert(known.end(), ids.begin(), ids.end());
    most_known = std::max(most_known, known.size());
    ++passes;
    rows_ = after();
    return rows_;
  }

  bool gives_likeliest_;
  std::vector<float> rows_;
  std::vector<std::int32_t> best_;
};

/// Knows a text; every `wrong`th guess is another id.
class Teller : public DraftSource {
 public:
  Teller(std::vector<std::int32_t> text, std::size_t wrong)
      : text_(std::move(text)), wrong_(wrong) {}
  DraftOffer offer(std::span<const std::int32_t> history, std::size_t most) override {
    return {.most = std::min({most, std::size_t{5}, text_.size() - history.size()}),
            .kind = 1,
            .prior = 0.9};
  }
  std::span<const std::int32_t> draft(std::span<const std::int32_t> history,
                                      std::size_t count) override {
    ids_.assign(text_.begin() + static_cast<std::ptrdiff_t>(history.size()),
                text_.begin() + static_cast<std::ptrdiff_t>(history.size() + count));
    for (std::size_t i = 0; i < count; ++i) {
      if ((history.size() + i) % wrong_ == 0) ids_[i] = (ids_[i] + 1) % kVocab;
    }
    return ids_;
  }

 private:
  std::vector<std::int32_t> text_;
  std::size_t wrong_;
  std::vector<std::int32_t> ids_;
};

struct Made {
  std::vector<std::int32_t> ids;
  FinishReason reason = FinishReason::kLength;
  int passes = 0;
  std::size_t most_known = 0;
  SpeculationStats stats;
};

Made run(LogitsSource& source, const GenerationConfig& config) {
  TokenLoop loop(source, nullptr, kPrompt, config);
  std::string piece;
  while (loop.step(piece)) EXPECT_EQ(piece, "");
  return {.ids = loop.result().ids, .reason = loop.result().finish_reason, .stats = {}};
}

Made plain(const GenerationConfig& config) {
  PairModel model;
  Made made = run(model, config);
  made.passes = model.passes;
  return made;
}

Made speculative(const GenerationConfig& config, std::unique_ptr<DraftSource> drafts,
                 bool gives_likeliest = false) {
  PairModel model(gives_likeliest);
  SpeculativeSource source(model, std::move(drafts),
                           kPrompt.size() + static_cast<std::size_t>(config.max_new_tokens),
                           [&] { return static_cast<double>(model.passes); });
  Made made = run(source, config);
  made.passes = model.passes;
  made.most_known = model.most_known;
  made.stats = source.stats();
  return made;
}

std::vector<std::int32_t> whole(const std::vector<std::int32_t>& ids) {
  std::vector<std::int32_t> text = kPrompt;
  text.insert(text.end(), ids.begin(), ids.end());
  text.resize(text.size() + 16, 3);
  return text;
}

std::vector<GenerationConfig> configs() {
  const GenerationConfig greedy{.max_new_tokens = 40};
  GenerationConfig sampled{.max_new_tokens = 40, .do_sample = true, .top_k = 0};
  sampled.seed = 3;
  GenerationConfig ruled{.max_new_tokens = 40, .repetition_penalty = 1.3};
  ruled.no_repeat_ngram_size = 3;
  ruled.min_new_tokens = 6;
  GenerationConfig ends = greedy;
  ends.eos_token_id = {plain(greedy).ids[20]};
  return {greedy, sampled, ruled, ends};
}

TEST(Speculation, ATextIsTheSameWhateverIsGuessed) {
  for (const GenerationConfig& config : configs()) {
    const Made expected = plain(config);
    for (const std::size_t wrong : {1, 2, 3, 5, 7, 1000}) {
      for (const bool likeliest : {false, true}) {
        const Made made =
            speculative(config, std::make_unique<Teller>(whole(expected.ids), wrong), likeliest);
        EXPECT_EQ(made.ids, expected.ids) << wrong;
        EXPECT_EQ(made.reason, expected.reason) << wrong;
      }
    }
    const Made looked_up =
        speculative(config, std::make_unique<PromptLookup>(PromptLookupOptions{}));
    EXPECT_EQ(looked_up.ids, expected.ids);
  }
}

TEST(Speculation, RightGuessesSavePasses) {
  for (const bool likeliest : {false, true}) {
    const GenerationConfig config{.max_new_tokens = 40};
    const Made expected = plain(config);
    const Made made =
        speculative(config, std::make_unique<Teller>(whole(expected.ids), 1000), likeliest);
    EXPECT_EQ(expected.passes, 40);
    EXPECT_LT(made.passes, 14);
    EXPECT_EQ(made.stats.accepted, made.stats.drafted);
  }
}

TEST(Speculation, CountsWhatItChecked) {
  const GenerationConfig config{.max_new_tokens = 40};
  const Made expected = plain(config);
  const Made made = speculative(config, std::make_unique<Teller>(whole(expected.ids), 4));
  EXPECT_GT(made.stats.drafted, made.stats.accepted);
  EXPECT_GT(made.stats.accepted, 0);
  EXPECT_EQ(made.stats.passes + made.stats.plain_passes + 1, made.passes);
  // Every pass makes an id, and every right guess another.
  EXPECT_EQ(made.passes + made.stats.accepted, 40);
}

// So that a session can go on with another turn.
TEST(Speculation, TheModelHoldsWhatWasSaidAndNoGuesses) {
  const GenerationConfig config{.max_new_tokens = 40};
  const Made expected = plain(config);
  for (const std::size_t taken : {4, 7, 8, 9, 20, 40}) {
    PairModel model;
    SpeculativeSource source(model, std::make_unique<Teller>(whole(expected.ids), 9),
                             kPrompt.size() + 40,
                             [&] { return static_cast<double>(model.passes); });
    TokenLoop loop(source, nullptr, kPrompt, config);
    std::string piece;
    for (std::size_t i = 0; i < taken; ++i) loop.step(piece);
    source.finish();
    std::vector<std::int32_t> said = kPrompt;
    said.insert(said.end(), expected.ids.begin(),
                expected.ids.begin() + static_cast<std::ptrdiff_t>(taken - 1));
    EXPECT_EQ(model.known, said) << taken;
  }
}

TEST(Speculation, NothingIsCheckedBeyondTheLastIdThatFits) {
  const GenerationConfig config{.max_new_tokens = 12};
  const Made made =
      speculative(config, std::make_unique<Teller>(whole(plain({.max_new_tokens = 40}).ids), 1000));
  EXPECT_LE(made.most_known, kPrompt.size() + 11);
}

TEST(Speculation, ADraftModelThatAgreesIsRight) {
  for (const bool samples : {false, true}) {
    GenerationConfig config{.max_new_tokens = 40, .do_sample = samples, .top_k = 0};
    config.seed = 9;
    PairModel small;
    auto drafts = std::make_unique<DraftModel>(
        small,
        DraftModelOptions{.assistant_confidence_threshold = 0, .capacity = 100, .vocab_size = 48},
        config, kPrompt.size(), 9);
    const Made expected = plain(config);
    const Made made = speculative(config, std::move(drafts));
    EXPECT_EQ(made.ids, expected.ids);
    EXPECT_EQ(made.stats.accepted, made.stats.drafted) << samples;
    EXPECT_LT(made.passes, 20);
  }
}

TEST(Speculation, AnUnsureDraftModelGuessesNothing) {
  const GenerationConfig config{.max_new_tokens = 20};
  PairModel small;
  auto drafts = std::make_unique<DraftModel>(
      small,
      DraftModelOptions{.assistant_confidence_threshold = 1.01, .capacity = 100, .vocab_size = 48},
      config, kPrompt.size(), 0);
  const Made made = speculative(config, std::move(drafts));
  EXPECT_EQ(made.ids, plain(config).ids);
  EXPECT_EQ(made.stats.drafted, 0);
}

TEST(Speculation, ADraftModelIsNotFedBeyondItsRoom) {
  const GenerationConfig config{.max_new_tokens = 40};
  PairModel small;
  auto drafts = std::make_unique<DraftModel>(
      small,
      DraftModelOptions{.assistant_confidence_threshold = 0, .capacity = 20, .vocab_size = 48},
      config, kPrompt.size(), 0);
  const Made made = speculative(config, std::move(drafts));
  EXPECT_EQ(made.ids, plain(config).ids);
  EXPECT_LE(small.most_known, 20U);
  EXPECT_GT(made.stats.accepted, 0);
}

}  // namespace
}  // namespace shoehorn
