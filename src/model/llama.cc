#include "model/llama.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/activation.h"
#include "kernels/rms_norm.h"
#include "model/blocks.h"
#include "model/rope.h"

namespace shoehorn {
namespace {

// Ten times what any model has; a config that asks for more is not one.
constexpr std::int64_t kMostLayers = 10000;
constexpr std::int64_t kMostHeadDim = 8192;

struct LlamaConfig {
  std::int64_t hidden_size;
  std::int64_t intermediate_size;
  std::int64_t num_hidden_layers;
  std::int64_t num_attention_heads;
  std::int64_t num_key_value_heads;
  std::int64_t head_dim;
  std::int64_t vocab_size;
  std::int64_t max_position_embeddings;
  float rms_norm_eps;
  bool attention_bias;
  bool mlp_bias;
  bool tie_word_embeddings;
};

LlamaConfig parse_llama_config(const Config& config) {
  LlamaConfig c{};
  c.hidden_size = config.size("hidden_size");
  c.intermediate_size = config.size("intermediate_size");
  c.num_hidden_layers = config.size("num_hidden_layers");
  c.num_attention_heads = config.size("num_attention_heads");
  c.num_key_value_heads = config.size("num_key_value_heads", c.num_attention_heads);
  c.vocab_size = config.size("vocab_size");
  c.max_position_embeddings = config.size("max_position_embeddings", 2048);
  c.head_dim = config.size("head_dim", c.hidden_size / c.num_attention_heads);
  c.rms_norm_eps = static_cast<float>(config.number("rms_norm_eps", 1e-6));
  c.attention_bias = config.boolean("attention_bias", false);
  c.mlp_bias = config.boolean("mlp_bias", false);
  c.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  if (c.num_hidden_layers > kMostLayers) {
    throw config.error("num_hidden_layers",
                       str_cat("is ", c.num_hidden_layers, "; at most ", kMostLayers));
  }
  if (c.head_dim > kMostHeadDim) {
    throw config.error("head_dim", str_cat("is ", c.head_dim, "; at most ", kMostHeadDim));
  }
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    throw config.error("num_key_value_heads",
                       str_cat("does not divide num_attention_heads = ", c.num_attention_heads));
  }
  if (c.head_dim % 2 != 0) throw config.error("head_dim", "must be even for rotary positions");
  if (const std::string act = config.text("hidden_act", "silu"); act != "silu" && act != "swish") {
    throw UnsupportedError(str_cat(config.path().string(), ": hidden_act \"", act,
                                   "\" in a llama model; shoehorn computes silu"));
  }
  return c;
}

// Positions of a layer's weights in its group.
enum LayerWeight : std::size_t {
  kInputLayernorm,
  kQProj,
  kQBias,
  kKProj,
  kKBias,
  kVProj,
  kVBias,
  kOProj,
  kOBias,
  kPostAttentionLayernorm,
  kGateProj,
  kGateBias,
  kUpProj,
  kUpBias,
  kDownProj,
  kDownBias,
};

enum HeadWeight : std::size_t { kNorm, kLmHead };

class Llama final : public Architecture {
 public:
  explicit Llama(const Config& config)
      : c_(parse_llama_config(config)),
        rotary_(parse_rope_config(config, 10000, c_.max_position_embeddings), c_.head_dim) {
    shape_.hidden_size = c_.hidden_size;
    shape_.vocab_size = c_.vocab_size;
    shape_.max_position_embeddings = c_.max_position_embeddings;
    shape_.num_attention_heads = c_.num_attention_heads;
    shape_.widest_input = std::max({c_.hidden_size, q_width(), c_.intermediate_size});
    shape_.widest_output = std::max({c_.hidden_size, q_width(), c_.intermediate_size});
    shape_.layers.assign(static_cast<std::size_t>(c_.num_hidden_layers),
                         {c_.num_key_value_heads, c_.head_dim});
  }

  const DecoderShape& shape() const override { return shape_; }
  std::string_view base_model_prefix() const override { return "model"; }
  ModuleTree module_tree(DType dtype) const override;
  std::vector<WeightGroupNames> weight_groups() const override;
  std::size_t workspace_bytes(std::int64_t rows, std::int64_t logits_rows) const override;
  std::vector<RotaryTable> rotary_tables(const Batch& batch) const override;
  void embed_tokens(const Pass& pass, WeightStore& weights, std::span<float> x, Device device,
                    Runtime& runtime) const override;
  void decoder_layer(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
                     std::span<float> x, Device device, Runtime& runtime) const override;
  void head(const WeightStore::Lease& w, const Pass& pass, std::span<const float> x,
            const PassResult& result, Device device, Runtime& runtime) const override;

 private:
  void add_attention(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
                     std::span<const float> h, std::span<float> x, Device device,
                     Runtime& runtime) const;
  void add_mlp(const WeightStore::Lease& w, std::span<const float> h, std::int64_t rows,
               std::span<float> x, Device device, Runtime& runtime) const;

  std::int64_t q_width() const { return c_.num_attention_heads * c_.head_dim; }
  std::int64_t kv_width() const { return c_.num_key_value_heads * c_.head_dim; }

  LlamaConfig c_;
  RotaryEmbedding rotary_;
  DecoderShape shape_;
};

Module linear_module(std::int64_t out, std::int64_t in, bool bias, DType dtype) {
  Module module{.class_name = "Linear", .parameters = {{"weight", Shape{out, in}, dtype}}};
  if (bias) module.parameters.push_back({"bias", Shape{out}, dtype});
  return module;
}

ModuleTree Llama::module_tree(DType dtype) const {
  const auto norm = [&] {
    return Module{.class_name = "LlamaRMSNorm",
                  .parameters = {{"weight", Shape{c_.hidden_size}, dtype}}};
  };
  const auto linear = [&](std::int64_t out, std::int64_t in, bool bias) {
    return linear_module(out, in, bias, dtype);
  };
  Module layers{.class_name = "ModuleList"};
  for (std::int64_t i = 0; i < c_.num_hidden_layers; ++i) {
    Module attention{
        .class_name = "LlamaAttention",
        .children = {{"q_proj", linear(q_width(), c_.hidden_size, c_.attention_bias)},
                     {"k_proj", linear(kv_width(), c_.hidden_size, c_.attention_bias)},
                     {"v_proj", linear(kv_width(), c_.hidden_size, c_.attention_bias)},
                     {"o_proj", linear(c_.hidden_size, q_width(), c_.attention_bias)}}};
    Module mlp{
        .class_name = "LlamaMLP",
        .children = {{"gate_proj", linear(c_.intermediate_size, c_.hidden_size, c_.mlp_bias)},
                     {"up_proj", linear(c_.intermediate_size, c_.hidden_size, c_.mlp_bias)},
                     {"down_proj", linear(c_.hidden_size, c_.intermediate_size, c_.mlp_bias)},
                     {"act_fn", Module{.class_name = "SiLUActivation"}}}};
    layers.children.push_back(
        {std::to_string(i), Module{.class_name = "LlamaDecoderLayer",
                                   .children = {{"self_attn", std::move(attention)},
                                                {"mlp", std::move(mlp)},
                                                {"input_layernorm", norm()},
                                                {"post_attention_layernorm", norm()}}}});
  }
  const Shape half{c_.head_dim / 2};
  Module rotary{.class_name = "LlamaRotaryEmbedding",
                .buffers = {{"inv_freq", half, DType::kF32, false},
                            {"original_inv_freq", half, DType::kF32, false}}};
  Module embed{.class_name = "Embedding",
               .parameters = {{"weight", Shape{c_.vocab_size, c_.hidden_size}, dtype}}};
  Module model{.class_name = "LlamaModel",
               .children = {{"embed_tokens", std::move(embed)},
                            {"layers", std::move(layers)},
                            {"norm", norm()},
                            {"rotary_emb", std::move(rotary)}}};
  ModuleTree tree;
  tree.root = {.class_name = "LlamaForCausalLM",
               .children = {{"model", std::move(model)},
                            {"lm_head", linear(c_.vocab_size, c_.hidden_size, false)}}};
  if (c_.tie_word_embeddings) tree.ties = {{"model.embed_tokens.weight", "lm_head.weight"}};
  tree.no_split_module_classes = {"LlamaDecoderLayer"};
  return tree;
}

std::vector<WeightGroupNames> Llama::weight_groups() const {
  std::vector<WeightGroupNames> groups = {{"model.embed_tokens", {"model.embed_tokens.weight"}}};
  for (std::int64_t i = 0; i < c_.num_hidden_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i);
    WeightGroupNames group{layer, {}};
    const auto add_linear = [&](const std::string& name, bool bias) {
      group.weights.push_back(layer + "." + name + ".weight");
      group.weights.push_back(bias ? layer + "." + name + ".bias" : "");
    };
    group.weights.push_back(layer + ".input_layernorm.weight");
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      add_linear(std::string("self_attn.") + name, c_.attention_bias);
    }
    group.weights.push_back(layer + ".post_attention_layernorm.weight");
    for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
      add_linear(std::string("mlp.") + name, c_.mlp_bias);
    }
    groups.push_back(std::move(group));
  }
  groups.push_back({"lm_head", {"model.norm.weight", "lm_head.weight"}});
  return groups;
}

std::size_t Llama::workspace_bytes(std::int64_t rows, std::int64_t logits_rows) const {
  const std::int64_t d = c_.hidden_size;
  // x and normed; beside them either attention's or the mlp's own.
  const std::int64_t attention = 2 * q_width() + 2 * kv_width();
  const std::int64_t mlp = 2 * c_.intermediate_size;
  // A weight that lives elsewhere has its input and output copied there, attention where its cache
  // lies elsewhere what it reads.
  const std::int64_t hop = std::max(shape_.widest_input + std::max(q_width(), c_.intermediate_size),
                                    q_width() + 2 * kv_width());
  const std::int64_t floats = rows * (2 * d + std::max(attention, mlp) + hop) + logits_rows * 2 * d;
  return static_cast<std::size_t>(floats) * sizeof(float) + 64 * 64;
}

std::vector<RotaryTable> Llama::rotary_tables(const Batch& batch) const {
  std::vector<RotaryTable> tables;
  tables.push_back(rotary_table(rotary_, batch));
  return tables;
}

void Llama::embed_tokens(const Pass& pass, WeightStore& weights, std::span<float> x, Device device,
                         Runtime& runtime) const {
  embed(pass, 0, 0, weights, x, device, runtime);
}

void Llama::decoder_layer(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
                          std::span<float> x, Device device, Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const std::int64_t rows = pass.rows();
  const auto h = ctx.workspace.take<float>(x.size());

  rms_norm(x, vector_on(device, w[kInputLayernorm], runtime), c_.rms_norm_eps, rows, h, ctx);
  add_attention(w, layer, pass, h, x, device, runtime);
  rms_norm(x, vector_on(device, w[kPostAttentionLayernorm], runtime), c_.rms_norm_eps, rows, h,
           ctx);
  add_mlp(w, h, rows, x, device, runtime);
}

void Llama::add_attention(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
                          std::span<const float> h, std::span<float> x, Device device,
                          Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const std::int64_t rows = pass.rows();
  const auto q = ctx.workspace.take<float>(static_cast<std::size_t>(rows * q_width()));
  const auto k = ctx.workspace.take<float>(static_cast<std::size_t>(rows * kv_width()));
  const auto v = ctx.workspace.take<float>(static_cast<std::size_t>(rows * kv_width()));
  const auto attended = ctx.workspace.take<float>(q.size());

  project({{&w[kQProj], &w[kQBias], q}, {&w[kKProj], &w[kKBias], k}, {&w[kVProj], &w[kVBias], v}},
          h, rows, device, runtime);
  const AttentionParams params{.heads = c_.num_attention_heads,
                               .scale = 1.0F / std::sqrt(static_cast<float>(c_.head_dim))};
  rotate_and_attend(params, pass, 0, RotaryPairs::kHalves, layer, q, k, v, attended, device,
                    runtime);
  project({{&w[kOProj], &w[kOBias], x, true}}, attended, rows, device, runtime);
}

void Llama::add_mlp(const WeightStore::Lease& w, std::span<const float> h, std::int64_t rows,
                    std::span<float> x, Device device, Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const auto gate =
      ctx.workspace.take<float>(static_cast<std::size_t>(rows * c_.intermediate_size));
  const auto up = ctx.workspace.take<float>(gate.size());
  project({{&w[kGateProj], &w[kGateBias], gate}, {&w[kUpProj], &w[kUpBias], up}}, h, rows, device,
          runtime);
  silu_mul(gate, up, gate, ctx);
  project({{&w[kDownProj], &w[kDownBias], x, true}}, gate, rows, device, runtime);
}

void Llama::head(const WeightStore::Lease& w, const Pass& pass, std::span<const float> x,
                 const PassResult& result, Device device, Runtime& runtime) const {
  language_head(w[kNorm], w[kLmHead], c_.rms_norm_eps, x, pass, result, device, runtime);
}

}  // namespace

std::unique_ptr<const Architecture> make_llama(const Config& config) {
  return std::make_unique<Llama>(config);
}

}  // namespace shoehorn
