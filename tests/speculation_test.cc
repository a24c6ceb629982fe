// Guessing ahead with whole models: the ids are those of plain decoding, wherever the weights live.

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::filesystem::path kData = SHOEHORN_TEST_DATA;
const std::string kTiny = (kData / "tiny-llama").string();
// A text that repeats itself.
const std::vector<std::int32_t> kPrompt = {9, 40, 71, 12, 55, 8, 9, 40, 71, 12, 55, 8, 9, 40, 71};

LoadOptions in_float32(const std::string& device_map = "cpu") {
  LoadOptions options;
  options.device_map = device_map;
  options.dtype = "float32";
  options.kv_dtype = "float32";
  return options;
}

struct Made {
  std::vector<std::int32_t> ids;
  RunStats stats;
  std::vector<std::string> notes;
};

Made generate(const Model& model, GenerateOptions options, std::int64_t lookup = 0) {
  options.max_new_tokens = 60;
  options.ignore_eos = true;
  if (lookup > 0) options.prompt_lookup_num_tokens = lookup;
  Generation generation = model.generate(kPrompt, options);
  for (std::string piece; generation.next(piece);) continue;
  return {generation.ids(), generation.stats(), generation.notes()};
}

std::vector<GenerateOptions> requests() {
  GenerateOptions sampled;
  sampled.temperature = 0.8;
  sampled.seed = 5;
  GenerateOptions ruled;
  ruled.repetition_penalty = 1.05;
  ruled.no_repeat_ngram_size = 9;
  return {{}, sampled, ruled};
}

TEST(PromptLookup, MakesTheIdsOfPlainDecodingOnAnyDeviceMap) {
  for (const char* map : {"cpu", "disk"}) {
    const Model model = from_pretrained(kTiny, in_float32(map));
    for (const GenerateOptions& request : requests()) {
      const Made plain = generate(model, request);
      const Made guessed = generate(model, request, 6);
      EXPECT_EQ(guessed.ids, plain.ids) << map;
      EXPECT_FALSE(plain.stats.speculates);
      EXPECT_TRUE(guessed.stats.speculates);
      EXPECT_LE(guessed.stats.accepted, guessed.stats.drafted);
    }
  }
}

TEST(DraftModel, MakesTheIdsOfPlainDecoding) {
  LoadOptions options = in_float32();
  const Model plain = from_pretrained(kTiny, options);
  options.draft_model = kTiny;  // it says what the large one says
  const Model model = from_pretrained(kTiny, options);
  for (const GenerateOptions& request : requests()) {
    const Made made = generate(model, request);
    EXPECT_EQ(made.ids, generate(plain, request).ids);
    EXPECT_TRUE(made.stats.speculates);
  }
}

TEST(DraftModel, IsWithinTheLimitAndPlannedFirst) {
  LoadOptions options = in_float32();
  options.draft_model = kTiny;
  options.max_memory = {{"cpu", "64MiB"}};  // the reserve alone is more
  EXPECT_THROW(from_pretrained(kTiny, options), PlanError);
}

TEST(DraftModel, OfAnotherVocabularyIsRefused) {
  LoadOptions options = in_float32();
  options.draft_model = (kData / "models" / "llama").string();
  try {
    from_pretrained(kTiny, options);
    FAIL();
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("has no tokenizer; a draft model needs the tokenizer"));
  }
}

/// A folder with a config.json alone: tiny-llama's with other sizes.
std::string shape_of_a_llama(const std::filesystem::path& folder, int layers, int hidden_size) {
  std::ifstream file(kData / "models" / "llama" / "config.json");
  auto config = nlohmann::json::parse(file);
  config["num_hidden_layers"] = layers;
  config["max_position_embeddings"] = 512;
  config["hidden_size"] = hidden_size;
  config["intermediate_size"] = 2 * hidden_size;
  config["head_dim"] = hidden_size / config["num_attention_heads"].get<int>();
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << config;
  return folder.string();
}

TEST(DraftModel, CancelEndsItsPass) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "shoehorn-slow-draft";
  LoadOptions options = in_float32();
  options.synthetic = true;
  options.max_context = 512;
  // Nearly all of the first step is the draft model's pass over the prompt.
  options.draft_model = shape_of_a_llama(folder / "draft", 24, 512);
  const Model model = from_pretrained(shape_of_a_llama(folder / "model", 1, 64), options);
  std::filesystem::remove_all(folder);
  const std::vector<std::int32_t> prompt(256, 3);
  const GenerateOptions request{.max_new_tokens = 4, .ignore_eos = true};
  std::string piece;

  Generation whole = model.generate(prompt, request);
  const auto begin = std::chrono::steady_clock::now();
  whole.next(piece);
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_FALSE(whole.ids().empty());

  Generation stopped = model.generate(prompt, request);
  std::thread canceller([&] {
    std::this_thread::sleep_for(took / 4);
    stopped.cancel();
  });
  stopped.next(piece);
  canceller.join();
  EXPECT_THAT(stopped.ids(), IsEmpty());  // a pass to its end would have made the first id
  EXPECT_EQ(stopped.finish_reason(), FinishReason::kCancelled);
}

TEST(DraftModel, AndPromptLookupTogetherAreRefused) {
  LoadOptions options = in_float32();
  options.draft_model = kTiny;
  const Model model = from_pretrained(kTiny, options);
  EXPECT_THROW(generate(model, {}, 6), ArgumentError);
}

TEST(Speculation, IsOffWithANoteWhereArithmeticDependsOnTheBatch) {
  LoadOptions options = in_float32();
  options.quantization_config = BitsAndBytesConfig{.load_in_8bit = true};
  const Made made = generate(from_pretrained(kTiny, options), {}, 6);
  EXPECT_FALSE(made.stats.speculates);
  EXPECT_THAT(made.notes, ElementsAre(HasSubstr("LLM.int8's outlier columns")));

  options.quantization_config->llm_int8_threshold = 0;
  EXPECT_THAT(generate(from_pretrained(kTiny, options), {}, 6).notes, IsEmpty());

  const std::string dynamic = (kData / "models" / "llama-rope-dynamic").string();
  LoadOptions longer = in_float32();
  longer.max_context = 200;
  EXPECT_THAT(generate(from_pretrained(dynamic, longer), {}, 6).notes,
              ElementsAre(HasSubstr("\"dynamic\" rotary scaling")));
}

}  // namespace
}  // namespace shoehorn
