#include "model/parted_decoder.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/rms_norm.h"
#include "model/blocks.h"

namespace shoehorn {
namespace {

// Ten times what any model has; a config that asks for more is not one.
constexpr std::int64_t kMostLayers = 10000;

// Before the attention's weights in a layer's group, and between them and the mlp's.
enum LayerWeight : std::size_t { kInputLayernorm, kPostAttentionLayernorm, kParts };
enum HeadWeight : std::size_t { kNorm, kLmHead };

class PartedDecoder final : public Architecture {
 public:
  explicit PartedDecoder(PartedDecoderConfig config)
      : c_(std::move(config)), rotary_(c_.rope, c_.rotary_dim) {
    shape_.hidden_size = c_.hidden_size;
    shape_.vocab_size = c_.vocab_size;
    shape_.max_position_embeddings = c_.max_position_embeddings;
    shape_.num_attention_heads = c_.num_attention_heads;
    for (const PartedLayer& layer : c_.layers) {
      const std::int64_t widest = std::max(layer.attention->widest(), layer.mlp->widest());
      shape_.widest_input = std::max(shape_.widest_input, widest);
      shape_.widest_output = std::max(shape_.widest_output, widest);
      mlp_weights_.push_back(kParts + layer.attention->weights("").size());
    }
    for (const PartedLayer& layer : c_.layers) {
      shape_.layers.push_back(c_.kv);
      shape_.layers.back().sliding_window = layer.attention->sliding_window();
    }
  }

  const DecoderShape& shape() const override { return shape_; }
  std::string_view base_model_prefix() const override { return "model"; }

  ModuleTree module_tree(DType dtype) const override;

  std::vector<std::string> ignored_prefixes() const override { return c_.ignored_prefixes; }

  std::vector<ExpertStack> expert_stacks() const override {
    std::vector<ExpertStack> all;
    for (std::size_t i = 0; i < c_.layers.size(); ++i) {
      auto stacks = c_.layers[i].mlp->stacks(layer_path(i) + ".mlp");
      std::ranges::move(stacks, std::back_inserter(all));
    }
    return all;
  }

  bool is_recordable() const override { return expert_stacks().empty(); }

  std::vector<WeightGroupNames> weight_groups() const override {
    std::vector<WeightGroupNames> groups = {{"model.embed_tokens", {"model.embed_tokens.weight"}}};
    for (std::size_t i = 0; i < c_.layers.size(); ++i) {
      const std::string path = layer_path(i);
      WeightGroupNames group{
          path, {path + ".input_layernorm.weight", path + ".post_attention_layernorm.weight"}};
      for (const auto& [part, name] : {std::pair(c_.layers[i].attention.get(), ".self_attn"),
                                       std::pair(c_.layers[i].mlp.get(), ".mlp")}) {
        const auto weights = part->weights(path + name);
        group.weights.insert(group.weights.end(), weights.begin(), weights.end());
      }
      groups.push_back(std::move(group));
    }
    groups.push_back({"lm_head", {"model.norm.weight", "lm_head.weight"}});
    return groups;
  }

  std::size_t workspace_bytes(std::int64_t rows, std::int64_t logits_rows) const override {
    std::int64_t part = 0;
    for (const PartedLayer& layer : c_.layers) {
      part = std::max(
          {part, layer.attention->workspace_floats(rows), layer.mlp->workspace_floats(rows)});
    }
    // x and its norm beside the part's own; vectors that live elsewhere come over.
    const std::int64_t floats = rows * 2 * c_.hidden_size + part +
                                logits_rows * 2 * c_.hidden_size + 8 * shape_.widest_output;
    return static_cast<std::size_t>(floats) * sizeof(float) + 64 * 64;
  }

  std::vector<RotaryTable> rotary_tables(const Batch& batch) const override {
    std::vector<RotaryTable> tables;
    tables.push_back(rotary_table(rotary_, batch));
    return tables;
  }

  void embed_tokens(const Pass& pass, WeightStore& weights, std::span<float> x, Device device,
                    Runtime& runtime) const override {
    embed(pass, 0, 0, weights, x, device, runtime);
  }

  void decoder_layer(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
                     std::span<float> x, Device device, Runtime& runtime) const override {
    ExecContext& ctx = runtime.on(device);
    const WorkspaceScope scope(ctx.workspace);
    const auto at = static_cast<std::size_t>(layer);
    const PartedLayer& parts = c_.layers[at];
    const auto h = ctx.workspace.take<float>(x.size());
    const PartInput input{layer, pass, h, device, runtime};
    const auto norm = [&](LayerWeight weight) {
      rms_norm(x, vector_on(device, w[weight], runtime), c_.rms_norm_eps, pass.rows(), h, ctx);
    };
    norm(kInputLayernorm);
    parts.attention->add({w, kParts}, input, x);
    norm(kPostAttentionLayernorm);
    parts.mlp->add({w, mlp_weights_[at]}, input, x);
  }

  void head(const WeightStore::Lease& w, const Pass& pass, std::span<const float> x,
            const PassResult& result, Device device, Runtime& runtime) const override {
    language_head(w[kNorm], w[kLmHead], c_.rms_norm_eps, x, pass, result, device, runtime);
  }

 private:
  static std::string layer_path(std::size_t layer) { return str_cat("model.layers.", layer); }

  PartedDecoderConfig c_;
  RotaryEmbedding rotary_;
  DecoderShape shape_;
  std::vector<std::size_t> mlp_weights_;  // of each layer: where they begin in its group
};

ModuleTree PartedDecoder::module_tree(DType dtype) const {
  const DType norm_dtype = c_.float32_norms && dtype == DType::kF16 ? DType::kF32 : dtype;
  const auto norm = [&] {
    return norm_module(c_.class_prefix + "RMSNorm", c_.hidden_size, norm_dtype);
  };
  Module layers{.class_name = "ModuleList"};
  for (std::size_t i = 0; i < c_.layers.size(); ++i) {
    layers.children.push_back(
        {std::to_string(i),
         Module{.class_name = c_.class_prefix + "DecoderLayer",
                .children = {{"self_attn", c_.layers[i].attention->module(dtype)},
                             {"mlp", c_.layers[i].mlp->module(dtype)},
                             {"input_layernorm", norm()},
                             {"post_attention_layernorm", norm()}}}});
  }
  const Shape half{c_.rotary_dim / 2};
  Module rotary{.class_name = c_.class_prefix + "RotaryEmbedding",
                .buffers = {{"inv_freq", half, DType::kF32, false},
                            {"original_inv_freq", half, DType::kF32, false}}};
  Module embed{.class_name = "Embedding",
               .parameters = {{"weight", Shape{c_.vocab_size, c_.hidden_size}, dtype}}};
  Module model{.class_name = c_.class_prefix + "Model",
               .children = {{"embed_tokens", std::move(embed)},
                            {"layers", std::move(layers)},
                            {"norm", norm()},
                            {"rotary_emb", std::move(rotary)}}};
  ModuleTree tree;
  tree.root = {
      .class_name = c_.class_prefix + "ForCausalLM",
      .children = {{"model", std::move(model)},
                   {"lm_head", linear_module(c_.vocab_size, c_.hidden_size, false, dtype)}}};
  if (c_.tie_word_embeddings) tree.ties = {{"model.embed_tokens.weight", "lm_head.weight"}};
  tree.no_split_module_classes = {c_.class_prefix + "DecoderLayer"};
  const auto& [ours, theirs] = c_.stored_infix;
  if (ours.empty()) return tree;
  for (const TreeTensor& tensor : tree_tensors(tree)) {
    std::string name = tensor.path;
    const std::size_t at = name.find(ours);
    if (at == std::string::npos) continue;
    tree.stored_names.emplace_back(tensor.path, name.replace(at, ours.size(), theirs));
  }
  return tree;
}

}  // namespace

PartedDecoderConfig parse_decoder_config(const Config& config, const std::string& class_prefix,
                                         double default_rms_norm_eps) {
  PartedDecoderConfig c;
  c.class_prefix = class_prefix;
  c.hidden_size = config.size("hidden_size");
  c.vocab_size = config.size("vocab_size");
  c.max_position_embeddings = config.size("max_position_embeddings", 4096);
  c.num_attention_heads = config.size("num_attention_heads");
  c.rms_norm_eps = static_cast<float>(config.number("rms_norm_eps", default_rms_norm_eps));
  c.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  return c;
}

void require_silu(const Config& config) {
  if (const std::string act = config.text("hidden_act", "silu"); act != "silu" && act != "swish") {
    throw UnsupportedError(str_cat(config.path().string(), ": hidden_act \"", act, "\" in a ",
                                   config.text("model_type"), " model; shoehorn computes silu"));
  }
}

std::int64_t layer_count(const Config& config) {
  const std::int64_t layers = config.size("num_hidden_layers");
  if (layers > kMostLayers) {
    throw config.error("num_hidden_layers", str_cat("is ", layers, "; at most ", kMostLayers));
  }
  return layers;
}

std::unique_ptr<const Architecture> make_parted_decoder(PartedDecoderConfig config) {
  return std::make_unique<PartedDecoder>(std::move(config));
}

}  // namespace shoehorn
