#include "plan/module_sizes.h"

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "plan/largest_layer.h"

namespace shoehorn {
namespace {

/// The worked example of accelerate 1.15.0's accounting: root{a.weight[10], b{w[10], ids int64[4]
/// buffer, mask bool[12] buffer}, c.weight[10]}, float32.
const ModuleTree& example() {
  static const ModuleTree tree = [] {
    const Module linear{.class_name = "Linear", .parameters = {{"weight", {10}, DType::kF32}}};
    const Module b{.class_name = "B",
                   .parameters = {{"w", {10}, DType::kF32}},
                   .buffers = {{"ids", {4}, DType::kI64}, {"mask", {12}, DType::kBool, false}}};
    return ModuleTree{
        .root = {.class_name = "Root", .children = {{"a", linear}, {"b", b}, {"c", linear}}}};
  }();
  return tree;
}

struct Sizes {
  double a, b, c, total;
  friend bool operator==(const Sizes&, const Sizes&) = default;
};

Sizes sizes_with(const SizeOptions& options, const ModuleTree& module_tree = example()) {
  const PlanTree tree(module_tree);
  const ModuleSizes sizes(tree, options);
  return {sizes.at(tree.find("a")).value, sizes.at(tree.find("b")).value,
          sizes.at(tree.find("c")).value, sizes.total().value};
}

TEST(ModuleSizes, CountsABoolAsAnEighth) {
  EXPECT_EQ(sizes_with({}), (Sizes{40, 73.5, 40, 153.5}));
}

TEST(ModuleSizes, ADtypeShrinksFloatsOnly) {
  EXPECT_EQ(sizes_with({.dtype = "float16"}), (Sizes{20, 53.5, 20, 93.5}));
  EXPECT_EQ(sizes_with({.dtype = "int8"}), (Sizes{10, 43.5, 10, 63.5}));
  EXPECT_EQ(sizes_with({.dtype = "custom:int4"}), (Sizes{5, 38.5, 5, 48.5}));
}

TEST(ModuleSizes, ADtypeNeverMakesATensorLarger) {
  EXPECT_EQ(sizes_with({.dtype = "float64"}), sizes_with({}));
}

TEST(ModuleSizes, SpecialDtypesApplyInBothDirections) {
  EXPECT_EQ(sizes_with({.dtype = "float16",
                        .special_dtypes = {{"a.weight", "float32"}, {"b.ids", "int8"}}}),
            (Sizes{40, 25.5, 20, 85.5}));
}

TEST(ModuleSizes, TransformersCountsABoolAsAByte) {
  EXPECT_EQ(sizes_with({.flavour = Flavour::kTransformers}), (Sizes{40, 84, 40, 164}));
}

TEST(ModuleSizes, TransformersTakesElementSizesFromTheQuantizer) {
  EXPECT_EQ(
      sizes_with({.flavour = Flavour::kTransformers, .element_size = {{"a.weight", {0.5, true}}}}),
      (Sizes{5, 84, 40, 129}));
}

TEST(ModuleSizes, ATiedTensorCountsUnderTheFirstNameMet) {
  ModuleTree tied = example();
  tied.ties = {{"c.weight", "a.weight"}};
  EXPECT_EQ(sizes_with({}, tied), (Sizes{40, 73.5, 0, 113.5}));
  // transformers leaves out what the model calls the alias, wherever it stands.
  EXPECT_EQ(sizes_with({.flavour = Flavour::kTransformers}, tied), (Sizes{0, 84, 40, 124}));
}

TEST(ModuleSizes, ModulesWithoutTensorsAreNotListed) {
  ModuleTree module_tree = example();
  module_tree.root.children.emplace_back("drop", Module{.class_name = "Dropout"});
  const PlanTree tree(module_tree);
  const ModuleSizes sizes(tree, {});
  EXPECT_FALSE(sizes.has(tree.find("drop")));
  EXPECT_EQ(sizes.at(tree.find("drop")).value, 0);
}

TEST(ModuleSizes, RefusesADtypeThatIsNone) {
  EXPECT_THROW(sizes_with({.dtype = "float17"}), ArgumentError);
}

TEST(FindLargestLayer, ListsEveryLayerOfThatSize) {
  const PlanTree tree(example());
  const ModuleSizes sizes(tree, {.dtype = "custom:int4"});
  const auto& children = tree.node(0).children;
  EXPECT_EQ(find_largest_layer(tree, children, sizes, {}).layers, std::set<NodeId>{tree.find("b")});
  const std::vector<NodeId> equal = {tree.find("a"), tree.find("c")};
  EXPECT_EQ(find_largest_layer(tree, equal, sizes, {}).layers.size(), 2U);
}

TEST(FindLargestLayer, TakesModulesOfUnsplitClassesWhole) {
  const PlanTree tree(example());
  const ModuleSizes sizes(tree, {});
  const std::vector<NodeId> root = {0};
  EXPECT_EQ(find_largest_layer(tree, root, sizes, {"Root"}).bytes.value, 153.5);
  EXPECT_EQ(find_largest_layer(tree, root, sizes, {}).bytes.value, 73.5);
}

}  // namespace
}  // namespace shoehorn
