#include "checkpoint/validate.h"

#include <filesystem>
#include <memory>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/safetensors_writer.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

struct Stored {
  std::string name;
  Shape shape;
  DType dtype = DType::kF32;
  int fill = 0;
};

class MatchCheckpoint : public ::testing::Test {
 protected:
  // A checkpoint with these tensors, each filled with one byte.
  const Checkpoint& store(const std::vector<Stored>& stored) {
    std::vector<Tensor> owners;
    std::vector<NamedTensor> tensors;
    for (const Stored& one : stored) {
      owners.emplace_back(one.dtype, one.shape);
      std::ranges::fill(owners.back().bytes(), static_cast<std::byte>(one.fill));
      tensors.push_back({one.name, owners.back().view()});
    }
    const auto path = folder_.path() / "model.safetensors";
    write_safetensors(path, tensors);
    checkpoint_ = std::make_unique<Checkpoint>(open_checkpoint(path));
    return *checkpoint_;
  }
  std::string refusal(const std::vector<ExpectedTensor>& expected, MatchOptions options = {}) {
    return testing::message_of<FormatError>(
        [&] { match_checkpoint(*checkpoint_, expected, options); });
  }

  const testing::TempFolder folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

const std::vector<ExpectedTensor> kTied = {
    {.path = "model.embed.weight", .shape = {4, 2}},
    {.path = "lm_head.weight", .shape = {4, 2}, .tied_to = "model.embed.weight"}};

TEST_F(MatchCheckpoint, FindsWhatIsThere) {
  const Checkpoint& checkpoint = store({{"a", {2}}, {"b", {3, 4}, DType::kBF16}});
  const auto match =
      match_checkpoint(checkpoint, {{.path = "a", .shape = {2}}, {.path = "b", .shape = {3, 4}}});
  EXPECT_EQ(match.at("b"), &checkpoint.at("b"));
  EXPECT_THAT(match.unexpected, IsEmpty());
  EXPECT_EQ(match.warning, "");
  EXPECT_THROW(match.at("c"), ArgumentError);
}

TEST_F(MatchCheckpoint, ListsEveryProblemInOneReport) {
  store({{"q", {2, 2}}, {"k", {2, 3}, DType::kF16}, {"mask", {2}, DType::kI32}, {"extra", {1}}});
  const std::string report = refusal({{.path = "q", .shape = {2, 3}},
                                      {.path = "k", .shape = {3, 2}},
                                      {.path = "mask", .shape = {2}},
                                      {.path = "v", .shape = {5, 7}},
                                      {.path = "o", .shape = {1}}});
  EXPECT_THAT(report,
              AllOf(HasSubstr("2 missing:\n    v [5, 7]\n    o [1]"),
                    HasSubstr("q: config.json asks for [2, 3], model.safetensors has F32 [2, 2]"),
                    HasSubstr("k: config.json asks for [3, 2], model.safetensors has F16 [2, 3]"),
                    HasSubstr("mask: model.safetensors has I32 [2]"),
                    HasSubstr("extra [1] in model.safetensors")));
}

TEST_F(MatchCheckpoint, WarnsOnceOfWhatNobodyExpects) {
  const Checkpoint& checkpoint = store({{"a", {2}}, {"x", {1}}, {"y", {1}}});
  const auto match = match_checkpoint(checkpoint, {{.path = "a", .shape = {2}}});
  EXPECT_THAT(match.unexpected, UnorderedElementsAre("x", "y"));
  EXPECT_THAT(match.warning, AllOf(HasSubstr("2 that the model does not have"), HasSubstr("x [1]"),
                                   HasSubstr("y [1]")));
}

TEST_F(MatchCheckpoint, RefusesWhatNobodyExpectsWhenStrict) {
  store({{"a", {2}}, {"x", {1}}});
  EXPECT_THAT(refusal({{.path = "a", .shape = {2}}}, {.strict = true}), HasSubstr("x [1]"));
}

TEST_F(MatchCheckpoint, IsSilentAboutLeftovers) {
  const Checkpoint& checkpoint = store({{"a", {2}},
                                        {"model.layers.0.self_attn.rotary_emb.inv_freq", {8}},
                                        {"h.0.attn.bias", {1, 1, 4, 4}, DType::kBool},
                                        {"h.0.attn.masked_bias", {}},
                                        {"h.0.attention.bias", {1, 1, 4, 4}, DType::kU8}});
  const auto match = match_checkpoint(checkpoint, {{.path = "a", .shape = {2}}}, {.strict = true});
  EXPECT_THAT(match.unexpected, IsEmpty());
}

TEST_F(MatchCheckpoint, IsNotSilentAboutABiasThatLooksLikeAMask) {
  const Checkpoint& checkpoint = store({{"h.0.attn.bias", {4}}, {"rotary_emb.inv_freq_2", {4}}});
  EXPECT_THAT(match_checkpoint(checkpoint, {}).unexpected,
              UnorderedElementsAre("h.0.attn.bias", "rotary_emb.inv_freq_2"));
}

TEST_F(MatchCheckpoint, LoadsALeftoverThatIsExpected) {
  const Checkpoint& checkpoint = store({{"rotary_emb.inv_freq", {4}}});
  const auto match = match_checkpoint(
      checkpoint, {{.path = "rotary_emb.inv_freq", .shape = {4}, .is_buffer = true}});
  EXPECT_EQ(match.at("rotary_emb.inv_freq"), &checkpoint.at("rotary_emb.inv_freq"));
}

TEST_F(MatchCheckpoint, LetsBuffersBeAbsentOrOfAnyType) {
  const Checkpoint& checkpoint = store({{"ids", {2}, DType::kI64}});
  const auto match = match_checkpoint(
      checkpoint, {{.path = "ids", .shape = {2}, .is_buffer = true},
                   {.path = "mask", .shape = {9}, .required = false, .is_buffer = true}});
  EXPECT_NE(match.at("ids"), nullptr);
  EXPECT_EQ(match.at("mask"), nullptr);
}

TEST_F(MatchCheckpoint, HoldsOptionalTensorsToTheirShapeToo) {
  store({{"mask", {8}}});
  EXPECT_THAT(refusal({{.path = "mask", .shape = {9}, .required = false}}),
              HasSubstr("mask: config.json asks for [9]"));
}

TEST_F(MatchCheckpoint, AcceptsNamesWithoutThePrefix) {
  const Checkpoint& checkpoint = store({{"norm.weight", {2}}});
  const auto match = match_checkpoint(checkpoint, {{.path = "model.norm.weight", .shape = {2}}},
                                      {.base_model_prefix = "model"});
  EXPECT_EQ(match.at("model.norm.weight"), &checkpoint.at("norm.weight"));
  EXPECT_THAT(match.unexpected, IsEmpty());
}

TEST_F(MatchCheckpoint, AcceptsNamesWithThePrefix) {
  const Checkpoint& checkpoint = store({{"transformer.wte.weight", {2}}});
  const auto match = match_checkpoint(checkpoint, {{.path = "wte.weight", .shape = {2}}},
                                      {.base_model_prefix = "transformer"});
  EXPECT_EQ(match.at("wte.weight"), &checkpoint.at("transformer.wte.weight"));
}

TEST_F(MatchCheckpoint, PrefersTheExactName) {
  const Checkpoint& checkpoint = store({{"norm.weight", {2}}, {"model.norm.weight", {2}}});
  const auto match = match_checkpoint(checkpoint, {{.path = "model.norm.weight", .shape = {2}}},
                                      {.base_model_prefix = "model"});
  EXPECT_EQ(match.at("model.norm.weight"), &checkpoint.at("model.norm.weight"));
  EXPECT_THAT(match.unexpected, ElementsAre("norm.weight"));
}

TEST_F(MatchCheckpoint, DoesNotAddAPrefixNobodyGave) {
  store({{"model.norm.weight", {2}}});
  EXPECT_THAT(refusal({{.path = "norm.weight", .shape = {2}}}), HasSubstr("1 missing"));
}

TEST_F(MatchCheckpoint, TakesTheHeadFromTheEmbedding) {
  const Checkpoint& checkpoint = store({{"model.embed.weight", {4, 2}}});
  const auto match = match_checkpoint(checkpoint, kTied);
  EXPECT_EQ(match.at("lm_head.weight"), &checkpoint.at("model.embed.weight"));
  EXPECT_THAT(match.stored_twice, IsEmpty());
}

TEST_F(MatchCheckpoint, TakesTheEmbeddingFromTheHead) {
  const Checkpoint& checkpoint = store({{"lm_head.weight", {4, 2}}});
  const auto match = match_checkpoint(checkpoint, kTied);
  EXPECT_EQ(match.at("model.embed.weight"), &checkpoint.at("lm_head.weight"));
}

TEST_F(MatchCheckpoint, SaysWhichTiedTensorsAreThereTwice) {
  const Checkpoint& checkpoint =
      store({{"lm_head.weight", {4, 2}}, {"model.embed.weight", {4, 2}}});
  const auto match = match_checkpoint(checkpoint, kTied);
  EXPECT_THAT(match.stored_twice, ElementsAre(Pair("model.embed.weight", "lm_head.weight")));
  EXPECT_EQ(match.at("lm_head.weight"), &checkpoint.at("lm_head.weight"));
}

TEST_F(MatchCheckpoint, ReportsATieOnceWhenBothAreMissing) {
  store({{"a", {1}}});
  EXPECT_THAT(refusal(kTied),
              AllOf(HasSubstr("1 missing:"),
                    HasSubstr("model.embed.weight [4, 2] (or lm_head.weight, tied to it)")));
}

TEST_F(MatchCheckpoint, HoldsTheTiedTensorToItsShape) {
  store({{"model.embed.weight", {4, 2}}, {"lm_head.weight", {5, 2}}});
  EXPECT_THAT(refusal(kTied), AllOf(HasSubstr("lm_head.weight: config.json asks for [4, 2]"),
                                    Not(HasSubstr("missing"))));
}

TEST_F(MatchCheckpoint, SharesOneOfSeveralAliasesWithAll) {
  const Checkpoint& checkpoint = store({{"c", {1}}});
  const auto match = match_checkpoint(checkpoint, {{.path = "a", .shape = {1}},
                                                   {.path = "b", .shape = {1}, .tied_to = "a"},
                                                   {.path = "c", .shape = {1}, .tied_to = "a"}});
  EXPECT_EQ(match.at("a"), &checkpoint.at("c"));
  EXPECT_EQ(match.at("b"), &checkpoint.at("c"));
}

TEST_F(MatchCheckpoint, RefusesExpectationsThatContradictThemselves) {
  const Checkpoint& checkpoint = store({{"a", {1}}});
  EXPECT_THROW(
      match_checkpoint(checkpoint, {{.path = "a", .shape = {1}}, {.path = "a", .shape = {1}}}),
      ArgumentError);
  EXPECT_THROW(match_checkpoint(checkpoint, {{.path = "a", .shape = {1}, .tied_to = "b"}}),
               ArgumentError);
  EXPECT_THROW(match_checkpoint(checkpoint, {{.path = "a", .shape = {1}, .tied_to = "a"}}),
               ArgumentError);
}

TEST_F(MatchCheckpoint, MatchesARecordedCheckpoint) {
  const Checkpoint llama =
      open_checkpoint(std::filesystem::path(SHOEHORN_TEST_DATA) / "models/llama");
  std::vector<ExpectedTensor> expected = {{.path = "model.embed_tokens.weight", .shape = {256, 64}},
                                          {.path = "model.norm.weight", .shape = {64}},
                                          {.path = "lm_head.weight", .shape = {256, 64}}};
  for (int i = 0; i < 2; ++i) {
    const std::string layer = str_cat("model.layers.", i, ".");
    const auto add = [&](const char* name, Shape shape) {
      expected.push_back({.path = layer + name + ".weight", .shape = shape});
    };
    add("input_layernorm", {64});
    add("post_attention_layernorm", {64});
    add("self_attn.q_proj", {64, 64});
    add("self_attn.k_proj", {32, 64});
    add("self_attn.v_proj", {32, 64});
    add("self_attn.o_proj", {64, 64});
    add("mlp.gate_proj", {96, 64});
    add("mlp.up_proj", {96, 64});
    add("mlp.down_proj", {64, 96});
  }
  EXPECT_EQ(match_checkpoint(llama, expected, {.strict = true}).tensors.size(), 21U);
}

TEST_F(MatchCheckpoint, NeedsNoTimeForHundredThousandMissingTensors) {
  store({{"a", {1}}});
  std::vector<ExpectedTensor> expected;
  for (int i = 0; i < 100'000; ++i) {
    expected.push_back({.path = str_cat("experts.", i), .shape = {1}});
  }
  EXPECT_THAT(refusal(expected), AllOf(HasSubstr("100000 missing"), HasSubstr("and 98000 more")));
}

TEST_F(MatchCheckpoint, SameBytesTellsEqualTensorsFromOthers) {
  const Checkpoint& checkpoint = store({{"a", {300'000}, DType::kF32, 1},
                                        {"b", {300'000}, DType::kF32, 1},
                                        {"c", {300'000}, DType::kF32, 2},
                                        {"d", {300'000}, DType::kI32, 1},
                                        {"e", {2, 150'000}, DType::kF32, 1}});
  const TensorInfo& a = checkpoint.at("a");
  EXPECT_TRUE(same_bytes(checkpoint, a, checkpoint.at("b")));
  EXPECT_FALSE(same_bytes(checkpoint, a, checkpoint.at("c")));
  EXPECT_FALSE(same_bytes(checkpoint, a, checkpoint.at("d")));
  EXPECT_FALSE(same_bytes(checkpoint, a, checkpoint.at("e")));
}

}  // namespace
}  // namespace shoehorn
