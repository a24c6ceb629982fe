// A checkpoint's generation_config.json as the default of everything: what is generated, and what
// the plan makes room for.

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

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Prompts = std::vector<std::vector<std::int32_t>>;

const std::filesystem::path kFolder = std::filesystem::path(SHOEHORN_TEST_DATA) / "tiny-llama";

/// tiny-llama with another generation_config.json; where that is empty, without one, and `config`
/// added to its config.json.
std::string folder_with(const std::string& name, const std::string& generation_config,
                        const nlohmann::json& config = {}) {
  const auto folder = std::filesystem::path(testing::TempDir()) / ("defaults-" + name);
  std::filesystem::remove_all(folder);
  std::filesystem::copy(kFolder, folder);
  std::filesystem::remove(folder / "generation_config.json");
  if (!generation_config.empty()) {
    std::ofstream(folder / "generation_config.json") << generation_config;
    return folder.string();
  }
  nlohmann::json whole = nlohmann::json::parse(std::ifstream(folder / "config.json"));
  whole.update(config);
  std::ofstream(folder / "config.json") << whole.dump();
  return folder.string();
}

std::size_t planned_cache(const std::string& plan_json) {
  return nlohmann::json::parse(plan_json).at("kv_cache_bytes").get<std::size_t>();
}

constexpr const char* kBeams = R"({"num_beams": 4, "num_return_sequences": 3, "max_length": 12,
                                   "length_penalty": 2.0, "eos_token_id": 2})";

TEST(GenerationDefaults, AreFollowedWhereNothingElseIsSaid) {
  const Prompts prompts = {{1, 5, 9}};
  const Model model = from_pretrained(folder_with("beams", kBeams));
  EXPECT_EQ(model.search_width().num_beams, 4);
  EXPECT_EQ(model.search_width().num_return_sequences, 3);
  const std::vector<Completion> found = model.complete(prompts);
  const Model plain = from_pretrained(kFolder.string(), {.max_batch = 4});
  const std::vector<Completion> asked =
      plain.complete(prompts, {.max_new_tokens = 9,
                               .num_beams = 4,
                               .length_penalty = 2.0,
                               .num_return_sequences = 3,
                               .eos_token_id = std::vector<std::int32_t>{2}});
  ASSERT_THAT(found, SizeIs(3));
  ASSERT_THAT(asked, SizeIs(3));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(found[i].ids, asked[i].ids);
    EXPECT_EQ(found[i].score, asked[i].score);
  }
}

TEST(GenerationDefaults, ArePlannedFor) {
  const std::string beams = folder_with("planned", kBeams);
  const std::size_t one = planned_cache(plan(kFolder.string()).json);
  EXPECT_EQ(planned_cache(plan(beams).json), 4 * one);
  EXPECT_EQ(planned_cache(from_pretrained(beams).plan_json()), 4 * one);
  EXPECT_EQ(planned_cache(plan(beams, {.planned = {.num_beams = 1}}).json), 3 * one);
  EXPECT_EQ(planned_cache(plan(beams, {.max_batch = 6}).json), 6 * one);
  const PlannedGeneration several = {.prompts = 2, .num_beams = 1, .num_return_sequences = 5};
  EXPECT_EQ(planned_cache(plan(beams, {.planned = several}).json), 10 * one);
  EXPECT_THROW(plan(beams, {.planned = {.num_beams = 0}}), ArgumentError);
  EXPECT_THROW(plan(beams, {.planned = {.prompts = 0}}), ArgumentError);
  const PlannedGeneration too_many = {.num_beams = 4, .num_return_sequences = 9};
  EXPECT_THROW(plan(beams, {.planned = too_many}), ArgumentError);  // as a generation refuses it
}

TEST(GenerationDefaults, MaxLengthCountsThePrompt) {
  const Model model = from_pretrained(folder_with("length", R"({"max_length": 8})"));
  const std::vector<std::int32_t> ids = {1, 5, 9};
  Generation generation = model.generate(ids, {.ignore_eos = true});
  for (std::string piece; generation.next(piece);) {
  }
  EXPECT_THAT(generation.ids(), SizeIs(5));
  EXPECT_THAT(model.complete(Prompts{{1, 5, 9}, {7}}, {.ignore_eos = true})[1].ids, SizeIs(7));
  EXPECT_THAT(model.complete(Prompts{ids}, {.max_new_tokens = 6, .ignore_eos = true})[0].ids,
              SizeIs(6));
  EXPECT_THROW(model.generate(std::vector<std::int32_t>(8, 5)), ArgumentError);
}

TEST(GenerationDefaults, OfAConfigJsonCountWhereThereIsNoOtherFile) {
  const Model model = from_pretrained(folder_with("old", "", {{"num_beams", 2}, {"seed", -7}}));
  EXPECT_EQ(model.search_width().num_beams, 2);
  EXPECT_EQ(model.search_width({.num_beams = 1}).num_beams, 1);
}

TEST(GenerationDefaults, NotesNameWhatIsNotFollowed) {
  std::vector<std::string> notes;
  LoadOptions options;
  options.on_note = [&](const std::string& note) { notes.push_back(note); };
  const std::string folder =
      folder_with("notes", R"({"guidance_scale": 2.0, "temprature": 1, "use_cache": false})");
  const Model model = from_pretrained(folder, options);
  EXPECT_THAT(notes, Contains(HasSubstr("asks for guidance_scale")));
  EXPECT_THAT(notes, Contains(HasSubstr("without a meaning here: temprature")));
  notes.clear();
  const Model quiet = from_pretrained(folder_with("quiet", R"({"use_cache": false})"), options);
  EXPECT_THAT(notes, IsEmpty());
}

TEST(GenerationDefaults, BeamsInGroupsAreRefused) {
  const Model model =
      from_pretrained(folder_with("groups", R"({"num_beams": 4, "num_beam_groups": 2})"));
  EXPECT_THROW(model.complete(Prompts{{1, 5}}), UnsupportedError);
  EXPECT_THAT(model.complete(Prompts{{1, 5}}, {.max_new_tokens = 2, .num_beams = 1}), SizeIs(1));
}

}  // namespace
}  // namespace shoehorn
