// The module trees of the fixtures' configs against those that transformers builds on the meta
// device: tests/data/module_trees.json, recorded by tests/parity/record_module_trees.py.
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "model/architecture.h"
#include "model/testing_model.h"

namespace shoehorn {
namespace {

using Json = nlohmann::json;

const Json& recorded() {
  static const Json facts =
      Json::parse(read_text_file(std::filesystem::path(SHOEHORN_TEST_DATA) / "module_trees.json"));
  return facts.at("models");
}

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& [name, facts] : recorded().items()) names.push_back(name);
  return names;
}

Json shape_json(const Shape& shape) {
  Json list = Json::array();
  for (std::size_t i = 0; i < shape.rank(); ++i) list.push_back(shape[i]);
  return list;
}

/// As the recording has it: [path, class, parameters, buffers] of every module in pre-order.
void add_facts(const Module& module, const std::string& path, Json& facts) {
  Json parameters = Json::array();
  for (const ParameterSpec& p : module.parameters) {
    parameters.push_back({p.name, shape_json(p.shape)});
  }
  Json buffers = Json::array();
  for (const BufferSpec& b : module.buffers) {
    buffers.push_back(
        {b.name, shape_json(b.shape), b.dtype == DType::kF32 ? "float32" : "other", b.persistent});
  }
  facts.push_back({path, module.class_name, parameters, buffers});
  for (const auto& [name, child] : module.children) {
    add_facts(child, path.empty() ? name : path + "." + name, facts);
  }
}

class ModuleTreeOf : public ::testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  std::unique_ptr<const Architecture> architecture() const {
    const auto path = testing::model_folder(std::get<0>(GetParam())) / std::get<1>(GetParam());
    return make_architecture(Config::parse(read_text_file(path), path));
  }
  const Json& facts() const { return recorded().at(std::get<0>(GetParam())); }
};

TEST_P(ModuleTreeOf, IsTransformers) {
  const auto made = architecture();
  const ModuleTree tree = made->module_tree(DType::kF32);
  Json modules = Json::array();
  add_facts(tree.root, "", modules);
  const Json& want = facts().at("modules");
  ASSERT_EQ(modules.size(), want.size()) << modules.dump(1);
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_EQ(modules[i], want[i]);
  Json ties = Json::object();
  for (const Tie& tie : tree.ties) ties[tie.alias] = tie.owner;
  EXPECT_EQ(ties, facts().at("ties"));
  EXPECT_EQ(Json(tree.no_split_module_classes), facts().at("no_split"));
  EXPECT_EQ(made->base_model_prefix(), facts().at("base_model_prefix"));
}

TEST_P(ModuleTreeOf, EveryParameterIsAskedForOnce) {
  const auto made = architecture();
  std::map<std::string, int> asked;
  for (const WeightGroupNames& group : made->weight_groups()) {
    for (const std::string& path : group.weights) {
      if (!path.empty()) ++asked[path];
    }
  }
  std::map<std::string, int> there;
  for (const TreeTensor& tensor : tree_tensors(made->module_tree(DType::kF32))) {
    if (!tensor.is_buffer || tensor.persistent) there[tensor.path] = 1;
  }
  EXPECT_EQ(asked, there);
}

INSTANTIATE_TEST_SUITE_P(All, ModuleTreeOf,
                         ::testing::Combine(::testing::ValuesIn(model_names()),
                                            ::testing::Values("config.json", "config.v4.json")),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param) + std::get<1>(info.param);
                           for (char& c : name) {
                             if (c == '-' || c == '.') c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace shoehorn
