#include "plan/estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "plan/human_size.h"
#include "plan/llama_for_tests.h"
#include "plan/tree_text.h"

namespace shoehorn {
namespace {

using testing::HasSubstr;
using testing::Not;

/// The example of accelerate 1.15.0 recorded in the specification: scale[64], emb[1000, 64], four
/// blocks, head[1000, 64].
ModuleTree recorded_example() {
  const auto weight = [](std::int64_t rows, std::int64_t columns) {
    return Module{.class_name = "Linear", .parameters = {{"weight", {rows, columns}, DType::kF32}}};
  };
  const Module block{.class_name = "Block",
                     .buffers = {{"mask", {64, 64}, DType::kBool}},
                     .children = {{"q", weight(64, 64)}, {"up", weight(256, 64)}}};
  Module root{.class_name = "Model", .parameters = {{"scale", {64}, DType::kF32}}};
  root.children.emplace_back("emb", weight(1000, 64));
  for (const char* name : {"b0", "b1", "b2", "b3"}) root.children.emplace_back(name, block);
  root.children.emplace_back("head", weight(1000, 64));
  return {.root = root, .no_split_module_classes = {"Block"}};
}

TEST(EstimateMemory, PrintsTheNumbersOfTheRecordedExample) {
  const auto rows = estimate_memory(recorded_example(), "");
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_EQ(rows[0].total.value, 841984);
  EXPECT_EQ(rows[0].largest_layer.value, 256000);
  const char* expected[4][3] = {{"250.0 KB", "822.25 KB", "3.21 MB"},
                                {"125.0 KB", "411.12 KB", "1.61 MB"},
                                {"62.5 KB", "205.56 KB", "N/A"},
                                {"31.25 KB", "102.78 KB", "N/A"}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(accelerate_size(rows[i].largest_layer), expected[i][0]);
    EXPECT_EQ(accelerate_size(rows[i].total), expected[i][1]);
    EXPECT_EQ(rows[i].can_train ? accelerate_size(rows[i].training) : "N/A", expected[i][2]);
  }
}

TEST(EstimateMemory, CountsFloat32WhateverTheFileStores) {
  const Llama llama(2, 64, 128);
  const double float32_bytes = estimate_memory(llama.tree, "")[0].total.value;
  EXPECT_EQ(float32_bytes, static_cast<double>(llama.total_bytes) * 2 + 32 * 4);
}

TEST(EstimateMemory, LeavesTheHeadOutWhereTheBaseModelIsNamed) {
  const Llama llama(2, 64, 128);
  const double whole = estimate_memory(llama.tree, "")[0].total.value;
  const double base = estimate_memory(llama.tree, "model")[0].total.value;
  EXPECT_EQ(whole - base, 128 * 64 * 4);
}

TEST(EstimateMemory, RefusesAModuleThatIsNotThere) {
  EXPECT_THROW(estimate_memory(recorded_example(), "model"), ArgumentError);
}

TEST(BaseModelPath, IsTheChildOfTheRootThatHoldsTheLayers) {
  EXPECT_EQ(base_model_path({"model.layers.0", "model.layers.1"}), "model");
  EXPECT_EQ(base_model_path({"layers.0", "layers.1"}), "");
  EXPECT_EQ(base_model_path({}), "");
}

TEST(EstimateText, HasRoomForColumnsOfOurOwn) {
  const std::string text =
      estimate_text(estimate_memory(recorded_example(), ""), "tiny", {{"KV cache", {"1 MiB"}}}, {});
  EXPECT_THAT(text, HasSubstr("tiny"));
  EXPECT_THAT(text, HasSubstr("822.25 KB"));
  EXPECT_THAT(text, HasSubstr("1 MiB"));
  EXPECT_THAT(text, HasSubstr("┌"));
}

TEST(TreeText, WritesLayersThatAreAlikeOnce) {
  const Llama llama(12, 64, 128);
  const std::string text = tree_text(llama.tree, {});
  EXPECT_THAT(text, HasSubstr("0-11: 12 × DecoderLayer"));
  EXPECT_THAT(text, Not(HasSubstr("11: DecoderLayer")));
  EXPECT_THAT(text, HasSubstr("q_proj: Linear  weight [64, 64] BF16"));
  EXPECT_THAT(text, HasSubstr("each"));
}

TEST(TreeText, KeepsLayersApartThatDiffer) {
  Llama llama(3, 64, 128);
  llama.tree.root.children[0].second.children[1].second.children[1].second.class_name = "Other";
  const std::string text = tree_text(llama.tree, {});
  EXPECT_THAT(text, HasSubstr("1: Other"));
  EXPECT_THAT(text, HasSubstr("2: DecoderLayer"));
}

TEST(TreeText, SaysWhatIsTiedAndCountsItOnce) {
  const Llama llama(1, 64, 128, /*tied=*/true);
  EXPECT_THAT(tree_text(llama.tree, {}), HasSubstr("BF16 = model.embed_tokens.weight"));
}

TEST(TreeText, TakesSizesAndRemarksFromTheCaller) {
  const Llama llama(1, 64, 128);
  const std::string text =
      tree_text(llama.tree, {.style = {.unicode = false},
                             .bytes_of = [](const std::string&) { return std::size_t{2048}; },
                             .annotate = [](const std::string&) { return "(Q4_0)"; }});
  EXPECT_THAT(text, HasSubstr("(Q4_0)"));
  EXPECT_THAT(text, HasSubstr("2.00 KiB"));
}

}  // namespace
}  // namespace shoehorn
