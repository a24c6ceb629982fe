#include "plan/balanced_budget.h"

#include <gtest/gtest.h>

#include "plan/llama_for_tests.h"
#include "plan/reference_error.h"

namespace shoehorn {
namespace {

/// A 7B Llama: 32 layers, hidden 4096, intermediate 11008, vocabulary 32000, float16, untied.
const ModuleTree& llama_7b() {
  static const ModuleTree tree = [] {
    const Module layer{.class_name = "LlamaDecoderLayer",
                       .children = {{"q", linear(4096, 4096)},
                                    {"k", linear(4096, 4096)},
                                    {"v", linear(4096, 4096)},
                                    {"o", linear(4096, 4096)},
                                    {"gate", linear(11008, 4096)},
                                    {"up", linear(11008, 4096)},
                                    {"down", linear(4096, 11008)},
                                    {"ln1", norm(4096)},
                                    {"ln2", norm(4096)}}};
    Module layers{.class_name = "ModuleList"};
    for (int i = 0; i < 32; ++i) layers.children.emplace_back(std::to_string(i), layer);
    const Module model{
        .class_name = "LlamaModel",
        .children = {
            {"embed_tokens", linear(32000, 4096)}, {"layers", layers}, {"norm", norm(4096)}}};
    return ModuleTree{.root = {.class_name = "LlamaForCausalLM",
                               .children = {{"model", model}, {"lm_head", linear(32000, 4096)}}}};
  }();
  return tree;
}

struct Fixture {
  PlanTree tree{llama_7b()};
  ModuleSizes accelerate{tree, {}};
  ModuleSizes transformers{tree, {.flavour = Flavour::kTransformers}};
  ClassNames no_split = {"LlamaDecoderLayer"};
};

Budget gpus(std::initializer_list<std::pair<int, double>> bytes) {
  Budget budget;
  for (const auto& [index, limit] : bytes) budget[DeviceKey::accelerator(index)] = {limit, false};
  return budget;
}

constexpr double k24GiB = 24 * 0x1p30;

TEST(AccelerateBalancedBudget, SharesA7BOverTwoAccelerators) {
  const Fixture f;
  ASSERT_EQ(f.accelerate.total().value, 13476831232);  // 256 bytes of rotary buffers less than real
  const Budget budget = accelerate_balanced_budget(
      f.tree, f.accelerate, gpus({{0, k24GiB}, {1, k24GiB}}), f.no_split, {});
  EXPECT_EQ(budget.at(DeviceKey::accelerator(0)).value, 13476831232 / 2 + 505958400);
  EXPECT_EQ(budget.at(DeviceKey::accelerator(1)).value, k24GiB);
}

TEST(TransformersBalancedBudget, TakesTheLargestInstanceAndTheLargestLeaf) {
  const Fixture f;
  const Budget budget = transformers_balanced_budget(f.tree, f.transformers,
                                                     gpus({{0, k24GiB}, {1, k24GiB}}), {}, {});
  // Without unsplit classes the embedding, 262,144,000 bytes, is the slack's measure.
  EXPECT_EQ(budget.at(DeviceKey::accelerator(0)).value, 13476831232 / 2 + 327680000);
}

TEST(AccelerateBalancedBudget, NeverRaisesALimit) {
  const Fixture f;
  const Budget budget =
      accelerate_balanced_budget(f.tree, f.accelerate, gpus({{0, 300}, {1, 2000}}), f.no_split, {});
  EXPECT_EQ(budget.at(DeviceKey::accelerator(0)).value, 300);
}

TEST(AccelerateBalancedBudget, KeepsATenthOfALoneDetectedAccelerator) {
  const Fixture f;
  const Budget detected = accelerate_balanced_budget(f.tree, f.accelerate, gpus({{0, 1000}}),
                                                     f.no_split, {.budget_was_given = false});
  EXPECT_EQ(detected.at(DeviceKey::accelerator(0)).value, 900);
  const Budget given =
      accelerate_balanced_budget(f.tree, f.accelerate, gpus({{0, 1000}}), f.no_split, {});
  EXPECT_EQ(given.at(DeviceKey::accelerator(0)).value, 1000);
}

TEST(AccelerateBalancedBudget, LowZeroLeavesAccelerator0WhatTheOthersCannotTake) {
  const Fixture f;
  const Budget budget =
      accelerate_balanced_budget(f.tree, f.accelerate, gpus({{0, k24GiB}, {1, 5e9}, {2, 5e9}}),
                                 f.no_split, {.low_zero = true});
  EXPECT_EQ(budget.at(DeviceKey::accelerator(0)).value, 13476831232 - 1e10);
}

TEST(AccelerateBalancedBudget, CrashesWhereAccelerateCrashes) {
  const Fixture f;
  Budget with_disk = gpus({{0, 1000}, {1, 1000}});
  with_disk[DeviceKey::disk()] = {9, false};
  EXPECT_THROW(accelerate_balanced_budget(f.tree, f.accelerate, with_disk, f.no_split, {}),
               ReferenceCrash);
  EXPECT_THROW(accelerate_balanced_budget(f.tree, f.accelerate, gpus({{0, 1000}, {2, 1000}}),
                                          f.no_split, {.low_zero = true}),
               ReferenceCrash);
}

}  // namespace
}  // namespace shoehorn
