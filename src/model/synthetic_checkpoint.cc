#include "model/synthetic_checkpoint.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/config.h"
#include "checkpoint/synthetic_values.h"
#include "model/architecture.h"
#include "model/synthetic_shapes.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxConfigBytes = 16U << 20;
constexpr std::int64_t kFeatures = 6;  // of every norm within the layers
constexpr float kFeatureScale = 16;    // a lifted feature passes 6 in most tokens
constexpr float kNormDeviation = 0.1F;
constexpr float kLogitsDeviation = 2.5F;
// A petabyte: more than any machine has, and sums of it cannot overflow.
constexpr std::size_t kMostBytes = std::size_t{1} << 50;

struct ShapeSource {
  std::string config;
  fs::path path;  // what messages call the config
};

ShapeSource find_shape(const std::string& shape) {
  if (std::string config = synthetic_config(shape); !config.empty()) {
    return {std::move(config), shape};
  }
  std::error_code ignored;
  fs::path path = shape;
  if (fs::is_directory(path, ignored)) path /= "config.json";
  if (shape.empty() || !fs::exists(path, ignored)) {
    throw ArgumentError(str_cat("--synthetic ", shape, ": there is no shape of that name (",
                                synthetic_shape_names(), ") and no config.json there"));
  }
  return {read_text_file(path, kMaxConfigBytes), path};
}

DType stored_dtype(const Config& config) {
  const char* key = config.has("dtype") ? "dtype" : "torch_dtype";
  const std::string name = config.text(key, "bfloat16");
  const auto dtype = dtype_from_torch_name(name);
  if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
    throw config.error(
        key, str_cat("\"", name, "\": weights are made up in float32, bfloat16 and float16"));
  }
  return *dtype;
}

/// The features that the norms lift, spread over the hidden size.
std::vector<std::int64_t> lifted_features(std::int64_t hidden_size) {
  std::vector<std::int64_t> features;
  for (std::int64_t i = 0; i < kFeatures; ++i) {
    features.push_back((2 * i + 1) * hidden_size / (2 * kFeatures));
  }
  features.erase(std::unique(features.begin(), features.end()), features.end());
  return features;
}

/// A Linear keeps the size of its input, each of the 2 x layers additions to the residual stream
/// adds a share of it, logits come out a few units wide. Weights that meet a lifted feature are
/// smaller there. The input of down_proj is halved: the product of gate and up would have tails of
/// its own beyond the threshold.
SyntheticRecipe recipe_of(const TreeTensor& tensor, const DecoderShape& shape, bool is_tied) {
  const auto ends = [&](auto... suffixes) {
    return (std::string_view(tensor.path).ends_with(suffixes) || ...);
  };
  SyntheticRecipe recipe;
  if (tensor.shape.rank() < 2 || ends("_bias")) {
    recipe.deviation = kNormDeviation;
    if (ends("bias", ".sinks")) return recipe;
    recipe.mean = 1;
    if (!ends("layernorm.weight") || tensor.shape[-1] != shape.hidden_size) return recipe;
    recipe.columns = lifted_features(shape.hidden_size);
    recipe.column_scale = kFeatureScale;
    return recipe;
  }
  const auto fan_in = static_cast<float>(tensor.shape[-1]);
  recipe.deviation = 1 / std::sqrt(fan_in);
  if (ends("embed_tokens.weight")) {
    recipe.deviation = is_tied ? kLogitsDeviation * recipe.deviation : 1;
  } else if (ends("lm_head.weight")) {
    recipe.deviation *= kLogitsDeviation;
  } else if (ends("o_proj.weight", "down_proj.weight", ".w2.weight")) {
    recipe.deviation = 1 / std::sqrt(fan_in * 2 * static_cast<float>(shape.layers.size()));
    if (!ends("o_proj.weight")) recipe.deviation *= 2;
  } else {
    if (ends("up_proj.weight", ".w3.weight")) recipe.deviation /= 2;
    if (tensor.shape[-1] != shape.hidden_size) return recipe;
    recipe.columns = lifted_features(shape.hidden_size);
    recipe.column_scale = 1 / kFeatureScale;
  }
  return recipe;
}

/// What a checkpoint of the tree holds: experts a matrix at a time, as released files do.
std::vector<TreeTensor> stored_tensors(const Architecture& architecture, const ModuleTree& tree) {
  std::map<std::string, ExpertStack> stacks;
  for (ExpertStack& stack : architecture.expert_stacks()) {
    if (stack.is_matrices()) stacks.emplace(stack.path, std::move(stack));
  }
  std::vector<TreeTensor> stored;
  for (const TreeTensor& tensor : tree_tensors(tree)) {
    const auto stack = stacks.find(tensor.path);
    if (tensor.is_buffer && !tensor.persistent) continue;
    if (stack == stacks.end()) {
      stored.push_back(tensor);
      continue;
    }
    for (std::int64_t i = 0; i < stack->second.shape[0]; ++i) {
      TreeTensor matrix = tensor;
      matrix.path = stack->second.matrix_name(i);
      matrix.shape = Shape{stack->second.shape[1], stack->second.shape[2]};
      stored.push_back(std::move(matrix));
    }
  }
  return stored;
}

TensorInfo tensor_info(const TreeTensor& tensor, std::size_t& total, const fs::path& config) {
  const auto elements = tensor.shape.checked_elements();
  const auto bytes = elements ? packed_bytes(tensor.dtype, *elements) : std::nullopt;
  if (!bytes || *bytes > kMostBytes - total) {
    throw FormatError(config, str_cat("with ", tensor.path, " ", to_string(tensor.shape),
                                      ", the weights would have more than ", kMostBytes, " bytes"));
  }
  total += *bytes;
  TensorInfo info;
  info.name = tensor.path;
  info.dtype = tensor.dtype;
  info.shape = tensor.shape;
  info.bytes = *bytes;
  return info;
}

}  // namespace

Checkpoint synthetic_checkpoint(const std::string& shape, std::uint64_t seed) {
  ShapeSource source = find_shape(shape);
  const Config config = Config::parse(source.config, source.path);
  const auto architecture = make_architecture(config);
  const ModuleTree tree = architecture->module_tree(stored_dtype(config));
  std::set<std::string> aliases;
  for (const Tie& tie : tree.ties) aliases.insert(tie.alias);

  Checkpoint::Parts parts;
  parts.path = shape;
  parts.format = "synthetic";
  std::unordered_map<std::string, SyntheticRecipe> recipes;
  std::size_t total = 0;
  for (const TreeTensor& tensor : stored_tensors(*architecture, tree)) {
    if (aliases.contains(tensor.path)) continue;
    parts.tensors.push_back(tensor_info(tensor, total, source.path));
    recipes[tensor.path] = recipe_of(tensor, architecture->shape(), !aliases.empty());
  }
  parts.source = std::make_unique<SyntheticValues>(seed, std::move(recipes));
  parts.config_json = std::move(source.config);
  return Checkpoint(std::move(parts));
}

}  // namespace shoehorn
