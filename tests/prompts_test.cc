// Many prompts that share passes: Model::complete_each, held against each prompt alone.

#include <atomic>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

namespace shoehorn {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const std::filesystem::path kFolder = std::filesystem::path(SHOEHORN_TEST_DATA) / "tiny-llama";

Model load(std::int64_t max_batch, LoadOptions options = {}) {
  options.max_batch = max_batch;
  options.dtype = "float32";
  options.kv_dtype = "float32";
  options.max_context = options.max_context == 0 ? 64 : options.max_context;
  return from_pretrained(kFolder.string(), options);
}

const GenerateOptions kSix = {.max_new_tokens = 6, .ignore_eos = true};

std::vector<BatchPrompt> some_prompts() {
  return {{{1, 5, 9}, 9}, {{1}, 2}, {{1, 7, 7, 8, 11, 3}}, {{1, 5, 9}, 0}, {{1, 20}, 1}, {{1, 4}}};
}

std::vector<Completion> completed(const Model& model, const std::vector<BatchPrompt>& prompts,
                                  const GenerateOptions& options = kSix) {
  std::size_t handed_out = 0;
  std::vector<Completion> result;
  model.complete_each(
      [&]() -> std::optional<BatchPrompt> {
        if (handed_out == prompts.size()) return std::nullopt;
        return prompts[handed_out++];
      },
      [&](Completion completion) { result.push_back(std::move(completion)); }, options);
  return result;
}

TEST(CompleteEach, GivesEachPromptWhatItHasAlone) {
  const Model model = load(3);
  const auto prompts = some_prompts();
  for (const bool sample : {false, true}) {
    GenerateOptions options = kSix;
    options.do_sample = sample;
    options.seed = 5;
    const auto found = completed(model, prompts, options);
    ASSERT_THAT(found, SizeIs(prompts.size()));
    std::set<std::size_t> seen;
    for (const Completion& completion : found) {
      seen.insert(completion.prompt);
      const BatchPrompt& prompt = prompts.at(completion.prompt);
      GenerateOptions alone = options;
      if (prompt.max_new_tokens) alone.max_new_tokens = prompt.max_new_tokens;
      Generation generation = model.generate(prompt.ids, alone);
      for (std::string piece; generation.next(piece);) {
      }
      EXPECT_EQ(completion.ids, generation.ids()) << completion.prompt;
      EXPECT_EQ(completion.text, generation.text()) << completion.prompt;
      EXPECT_EQ(completion.finish_reason, generation.finish_reason()) << completion.prompt;
    }
    EXPECT_THAT(seen, SizeIs(prompts.size()));
  }
}

TEST(CompleteEach, HandsOverInTheOrderInWhichTheyEnd) {
  const Model model = load(2);
  std::vector<std::size_t> order;
  for (const Completion& completion : completed(model, {{{1, 5}, 8}, {{1, 6}, 2}, {{1, 7}, 3}})) {
    order.push_back(completion.prompt);
  }
  EXPECT_THAT(order, ElementsAre(1, 2, 0));
}

TEST(CompleteEach, TakesAPromptWhenAPlaceIsFree) {
  const Model model = load(2);
  const std::vector<BatchPrompt> prompts = {{{1, 5}, 4}, {{1, 6}, 2}, {{1, 7}, 2}};
  std::size_t handed_out = 0;
  std::size_t done = 0;
  model.complete_each(
      [&]() -> std::optional<BatchPrompt> {
        EXPECT_LE(handed_out - done, 1U);  // one place of two is free at least
        if (handed_out == prompts.size()) return std::nullopt;
        return prompts[handed_out++];
      },
      [&](const Completion&) { ++done; }, kSix);
  EXPECT_EQ(done, 3U);
}

TEST(CompleteEach, ReadsStreamedLayersOnceForAll) {
  const auto read = [](std::int64_t batch) {
    const Model model = load(batch, {.device_map = "disk"});
    completed(model, std::vector<BatchPrompt>(8, {{1, 5, 9}, 5}));
    return static_cast<double>(model.disk_bytes_read());
  };
  EXPECT_LT(read(8) * 4, read(1));
}

TEST(CompleteEach, RunsWhereTheCacheLiesOnDisk) {
  const auto prompts = some_prompts();
  const auto want = completed(load(2), prompts);
  // The smallest limit in steps of 8 MiB with which it runs at all: the caches of two sequences of
  // so many positions are far larger than the rest.
  std::vector<std::string> notes;
  std::optional<Model> small;
  for (int mib = 80; !small && mib < 4096; mib += 8) {
    notes.clear();
    LoadOptions options;
    options.max_context = 100000;
    options.max_memory = {{"cpu", std::to_string(mib) + "MiB"}};
    options.on_note = [&](const std::string& note) { notes.push_back(note); };
    try {
      small = load(2, options);
    } catch (const PlanError&) {
    }
  }
  ASSERT_TRUE(small);
  EXPECT_THAT(notes, Contains(HasSubstr("lie on disk")));
  const auto found = completed(*small, prompts);
  ASSERT_EQ(found.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_EQ(found[i].ids, want[i].ids) << i;
}

TEST(CompleteEach, EndsWhatIsUnderWayWhenItIsCancelled) {
  const Model model = load(2);
  std::atomic<bool> cancelled = false;
  std::size_t handed_out = 0;
  std::vector<Completion> found;
  model.complete_each(
      [&]() -> std::optional<BatchPrompt> {
        ++handed_out;
        return BatchPrompt{{1, 5}, handed_out == 1 ? 2 : 30};
      },
      [&](Completion completion) {
        found.push_back(std::move(completion));
        cancelled = true;
      },
      kSix, &cancelled);
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[1].finish_reason, FinishReason::kCancelled);
  EXPECT_THAT(found[1].ids, SizeIs(2));
}

TEST(CompleteEach, RefusesBeamsAndPromptsThatDoNotFit) {
  const Model model = load(1, {.max_context = 4});
  EXPECT_THROW(completed(model, {{{1, 2}}}, {.num_beams = 2}), UnsupportedError);
  EXPECT_THROW(completed(model, {{{1, 2, 3, 4, 5}}}), PlanError);
}

}  // namespace
}  // namespace shoehorn
