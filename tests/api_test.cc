// The library as a user meets it: the public headers, a whole model folder.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const fs::path kData = SHOEHORN_TEST_DATA;

std::string tiny_llama() {
  return (kData / "tiny-llama").string();
}

/// What `body` throws, as text; empty if nothing.
template <typename E>
std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

TEST(FromPretrained, SaysWhereEverythingWent) {
  const Model model = from_pretrained(tiny_llama(), {.device_map = "disk"});
  std::ostringstream text;
  text << model.hf_device_map();
  EXPECT_EQ(text.str(), R"({"":"disk"})");
}

TEST(FromPretrained, ReadsAMapFromJson) {
  const Model model = from_pretrained(
      tiny_llama(), {.device_map = R"({"": "cpu", "model.layers.2": "disk", "lm_head": "disk"})"});
  EXPECT_GT(model.disk_bytes_read() + 1, 0U);
  Session session = model.new_session(4);
  const std::vector<std::int32_t> ids = {1, 2};
  session.forward(ids);
  EXPECT_GT(model.disk_bytes_read(), 0U);
}

TEST(FromPretrained, NamesTheNearestModuleOfAMapWithATypo) {
  const std::string message = message_of<ArgumentError>([] {
    from_pretrained(tiny_llama(), {.device_map = R"({"": "cpu", "model.layer.2": "disk"})"});
  });
  EXPECT_THAT(message, HasSubstr("model.layers.2"));
}

TEST(FromPretrained, SaysWhatLimitWouldWork) {
  const std::string message = message_of<PlanError>([] {
    from_pretrained(tiny_llama(), {.max_memory = {{"cpu", "1MiB"}}});
  });
  EXPECT_THAT(message, HasSubstr("--max-memory cpu="));
}

TEST(FromPretrained, RefusesAnAcceleratorThatIsNotThere) {
  const std::string message = message_of<ArgumentError>([] {
    from_pretrained(tiny_llama(), {.max_memory = {{"7", "1GiB"}, {"cpu", "1GiB"}}});
  });
  EXPECT_THAT(message, HasSubstr("accelerator 7"));
}

TEST(FromPretrained, NamesEveryPlaceItLookedForAModel) {
  const std::string message =
      message_of<FileError>([] { from_pretrained("no-such-org/no-such-model"); });
  EXPECT_THAT(message, HasSubstr("no-such-org/no-such-model"));
}

TEST(GetMemoryFootprint, CountsParametersAndBuffersAsTransformersDoes) {
  // bf16: embedding and head 2 x 320 x 64, a layer 64 x 64 + 2 x 32 x 64 + 64 x 64 + 3 x 160 x 64 +
  // 2 x 64, a norm of 64; two buffers of 8 float32.
  const std::size_t layer = 64 * 64 + 2 * 32 * 64 + 64 * 64 + 3 * 160 * 64 + 2 * 64;
  const std::size_t elements = 2 * 320 * 64 + 6 * layer + 64;
  const Model model = from_pretrained(tiny_llama());
  EXPECT_EQ(model.get_memory_footprint(), 2 * elements + 2 * 8 * 4);
}

TEST(Generate, PiecesMakeTheText) {
  const Model model = from_pretrained(tiny_llama());
  Generation generation = model.generate("Hello", {.max_new_tokens = 20, .ignore_eos = true});
  std::string text;
  for (const std::string& piece : generation) {
    EXPECT_FALSE(piece.empty());
    text += piece;
  }
  EXPECT_EQ(text, generation.text());
  EXPECT_EQ(generation.ids().size(), 20U);
  EXPECT_EQ(generation.finish_reason(), FinishReason::kLength);
  EXPECT_EQ(generation.stats().new_tokens, 20);
}

TEST(Generate, ASeedGivesTheSameTextOnAnyDeviceMap) {
  std::vector<std::vector<std::int32_t>> runs;
  for (const char* map : {"cpu", "disk"}) {
    const Model model = from_pretrained(tiny_llama(), {.device_map = map});
    Generation generation = model.generate("Hello", {.max_new_tokens = 24,
                                                     .do_sample = true,
                                                     .temperature = 1.3,
                                                     .seed = 5,
                                                     .ignore_eos = true});
    for (std::string piece; generation.next(piece);) continue;
    runs.push_back(generation.ids());
  }
  EXPECT_EQ(runs[0], runs[1]);
}

TEST(Generate, CancelEndsItAfterTheStep) {
  const Model model = from_pretrained(tiny_llama());
  Generation generation = model.generate("Hello", {.max_new_tokens = 200, .ignore_eos = true});
  std::string piece;
  ASSERT_TRUE(generation.next(piece));
  const std::size_t made = generation.ids().size();
  generation.cancel();
  generation.next(piece);
  EXPECT_EQ(generation.ids().size(), made);
  EXPECT_EQ(generation.finish_reason(), FinishReason::kCancelled);
}

TEST(Generate, APromptBeyondTheContextNamesTheOption) {
  const Model model = from_pretrained(tiny_llama(), {.max_context = 8});
  const std::vector<std::int32_t> ids(9, 1);
  EXPECT_THAT(message_of<PlanError>([&] { model.generate(ids); }), HasSubstr("--max-context"));
}

TEST(Session, RefusesIdsOutsideTheVocabulary) {
  const Model model = from_pretrained(tiny_llama());
  Session session = model.new_session(4);
  const std::vector<std::int32_t> ids = {320};
  EXPECT_THAT(message_of<ArgumentError>([&] { session.forward(ids); }), HasSubstr("320"));
  EXPECT_EQ(session.position(), 0);
}

TEST(Session, GoesBackToAPosition) {
  const Model model = from_pretrained(tiny_llama());
  Session session = model.new_session(8);
  const std::vector<std::int32_t> ids = {1, 2, 3};
  const auto first = session.forward(ids);
  const std::vector<float> want(first.begin(), first.end());
  const std::vector<std::int32_t> more = {4, 5};
  session.forward(more);
  session.truncate(2);
  const std::vector<std::int32_t> again = {3};
  const auto got = session.forward(again);
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-4);
}

TEST(Forward, OfSeveralSessionsIsThatOfEach) {
  const Model model = from_pretrained(tiny_llama(), {.max_batch = 3});
  const std::vector<std::vector<std::int32_t>> prompts = {{1, 2, 3}, {4}, {5, 6, 7, 8, 9}};
  const std::vector<std::vector<std::int32_t>> next = {{10}, {11}, {12}};
  std::vector<Session> together;
  std::vector<Session*> sessions;
  for (int i = 0; i < 3; ++i) together.push_back(model.new_session(8));
  for (Session& session : together) sessions.push_back(&session);
  const auto spans = [](const std::vector<std::vector<std::int32_t>>& ids) {
    return std::vector<std::span<const std::int32_t>>(ids.begin(), ids.end());
  };
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  for (const auto* ids : {&prompts, &next}) {
    const std::vector<float> logits = model.forward(sessions, spans(*ids));
    ASSERT_EQ(logits.size(), 3 * vocab);
    for (std::size_t i = 0; i < 3; ++i) {
      Session alone = model.new_session(8);
      if (ids == &next) alone.forward(prompts[i]);
      const auto want = alone.forward((*ids)[i]);
      EXPECT_EQ(together[i].position(), alone.position());
      // Other rows beside it mean other kernels: rounding may differ (docs/quality.md).
      for (std::size_t v = 0; v < vocab; ++v) ASSERT_NEAR(logits[i * vocab + v], want[v], 1e-4);
    }
  }
}

TEST(Forward, RefusesASessionTwice) {
  const Model model = from_pretrained(tiny_llama());
  const Model other = from_pretrained(tiny_llama());
  Session session = model.new_session(8);
  const std::vector<std::int32_t> ids = {1};
  const std::vector<std::span<const std::int32_t>> twice = {ids, ids};
  const std::vector<Session*> same = {&session, &session};
  EXPECT_THROW(model.forward(same, twice), ArgumentError);
  EXPECT_THROW(model.forward(std::span(same).first(1), twice), ArgumentError);
  EXPECT_THROW(other.forward(std::span(same).first(1), std::span(twice).first(1)), ArgumentError);
  EXPECT_EQ(session.position(), 0);
}

TEST(Plan, IsTheMapThatALoadUses) {
  const LoadOptions options{.max_memory = {{"cpu", "100MiB"}}, .max_context = 64};
  const PlanReport report = plan(tiny_llama(), options);
  const Model model = from_pretrained(tiny_llama(), options);
  EXPECT_EQ(report.device_map.entries, model.hf_device_map().entries);
  const auto json = nlohmann::json::parse(report.json);
  EXPECT_GT(json["predicted"]["decode_tok_s"].get<double>(), 0);
  EXPECT_THAT(report.svg, HasSubstr("</svg>"));
}

TEST(Plan, AssumesDevicesThatAreNotHere) {
  const PlanReport report = plan(tiny_llama(), {}, {.assume = "0=80GiB@4.3TB/s,link=50GB/s"});
  const std::pair<std::string, std::string> everything = {"", "0"};
  EXPECT_THAT(report.device_map.entries, ::testing::ElementsAre(everything));
}

TEST(Inspect, CountsParameters) {
  const auto json = nlohmann::json::parse(inspect(tiny_llama()).json);
  EXPECT_EQ(json["estimate"][0]["dtype"], "float32");
  EXPECT_EQ(json["tree"]["class"], "LlamaForCausalLM");
}

/// The real model of the demo, where it has been fetched.
class SmolLM2 : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* cache = std::getenv("XDG_CACHE_HOME");
    const char* home = std::getenv("HOME");
    const fs::path folder = cache != nullptr  ? fs::path(cache)
                            : home != nullptr ? fs::path(home) / ".cache"
                                              : fs::path();
    path_ = folder / "shoehorn/models/SmolLM2-135M-Instruct.Q4_1.gguf";
    if (!fs::exists(path_)) GTEST_SKIP() << path_ << " is not there; scripts/demo.sh fetches it";
    std::ifstream(kData / "smollm2/goldens.json") >> goldens_;
  }

  fs::path path_;
  nlohmann::json goldens_;
};

TEST_F(SmolLM2, SaysWhatTransformersSays) {
  const Model model = from_pretrained(path_.string(), {.max_context = 256});
  for (const auto& golden : goldens_["prompts"]) {
    EXPECT_EQ(model.tokenizer()->encode(golden["text"].get<std::string>()).ids,
              golden["input_ids"].get<std::vector<std::int32_t>>());
    const auto want = golden["greedy_ids"].get<std::vector<std::int32_t>>();
    Generation generation = model.generate(
        golden["text"].get<std::string>(),
        {.max_new_tokens = static_cast<std::int64_t>(want.size()), .ignore_eos = true});
    for (std::string piece; generation.next(piece);) continue;
    EXPECT_EQ(generation.ids(), want);
  }
}

TEST_F(SmolLM2, AnyMapThatStreamsGivesTheSameBits) {
  setenv("SHOEHORN_VIRTUAL_DEVICES", "2x64MiB", 1);
  const std::vector<std::int32_t> ids = {6403, 1980, 253, 655, 28, 260};
  const auto logits_on = [&](const std::string& map, double* streamed) {
    const Model model = from_pretrained(path_.string(), {.device_map = map, .max_context = 64});
    Session session = model.new_session(16);
    std::vector<float> logits = session.forward_all(ids);
    const auto last = session.forward(std::array<std::int32_t, 1>{2240});
    logits.insert(logits.end(), last.begin(), last.end());
    if (streamed != nullptr) {
      *streamed = static_cast<double>(model.disk_bytes_read()) /
                  (2 * static_cast<double>(model.weight_bytes()));
    }
    return logits;
  };
  const std::vector<float> want = logits_on("cpu", nullptr);
  std::mt19937 random(3);
  for (int map = 0; map < 30; ++map) {
    // Embedding and head are tied and hold 31 % of the bytes.
    std::string text = R"({"model.norm": "cpu", "model.rotary_emb": "cpu")";
    const bool embedding_on_disk = random() % 2 == 0;
    for (const char* name : {"model.embed_tokens", "lm_head"}) {
      text += std::string(", \"") + name + "\": " + (embedding_on_disk ? "\"disk\"" : "\"cpu\"");
    }
    for (int layer = 0; layer < 30; ++layer) {
      constexpr std::array kDevices = {"\"disk\"", "\"disk\"", "\"cpu\"", "0", "1"};
      const char* device = kDevices[random() % kDevices.size()];
      // Every second layer at least where the embedding does not stream.
      if (!embedding_on_disk && layer % 2 == 0) device = "\"disk\"";
      text += ", \"model.layers." + std::to_string(layer) + "\": " + device;
    }
    double streamed = 0;
    ASSERT_EQ(logits_on(text + "}", &streamed), want) << text;
    EXPECT_GE(streamed, 0.3) << text;
  }
  unsetenv("SHOEHORN_VIRTUAL_DEVICES");
}

}  // namespace
}  // namespace shoehorn
