#include "model/grouped_attention.h"

#include <algorithm>
#include <cmath>

#include "base/str_cat.h"
#include "kernels/rms_norm.h"
#include "model/blocks.h"

namespace shoehorn {
namespace {

constexpr std::int64_t kMostHeadDim = 8192;

enum AttentionWeight : std::size_t {
  kQProj,
  kQBias,
  kKProj,
  kKBias,
  kVProj,
  kVBias,
  kOProj,
  kOBias,
  kQNorm,
  kKNorm,
  kSinks,
};

class GroupedAttention final : public LayerPart {
 public:
  explicit GroupedAttention(const GroupedAttentionConfig& config) : c_(config) {}

  Module module(DType dtype) const override {
    const auto linear = [&](std::int64_t out, std::int64_t in) {
      return linear_module(out, in, c_.bias, dtype);
    };
    Module module{.class_name = c_.class_prefix + "Attention",
                  .children = {{"q_proj", linear(q_width(), c_.hidden_size)},
                               {"k_proj", linear(kv_width(), c_.hidden_size)},
                               {"v_proj", linear(kv_width(), c_.hidden_size)},
                               {"o_proj", linear(c_.hidden_size, q_width())}}};
    if (c_.sinks) module.parameters = {{"sinks", Shape{c_.num_attention_heads}, dtype}};
    if (c_.qk_norm) {
      for (const char* name : {"q_norm", "k_norm"}) {
        module.children.emplace_back(name,
                                     norm_module(c_.class_prefix + "RMSNorm", c_.head_dim, dtype));
      }
    }
    return module;
  }

  std::int64_t sliding_window() const override { return c_.sliding_window; }

  std::vector<std::string> weights(const std::string& path) const override {
    std::vector<std::string> names;
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) {
      add_linear_names(path, name, c_.bias, names);
    }
    for (const char* name : {".q_norm.weight", ".k_norm.weight"}) {
      names.push_back(c_.qk_norm ? path + name : "");
    }
    names.push_back(c_.sinks ? path + ".sinks" : "");
    return names;
  }

  std::int64_t workspace_floats(std::int64_t rows) const override {
    const std::int64_t own = 2 * q_width() + 2 * kv_width();
    const std::int64_t hop = std::max(c_.hidden_size + q_width(), q_width() + 2 * kv_width());
    const std::int64_t sinks = c_.sinks ? 2 * (c_.num_attention_heads + 16) : 0;
    return rows * (own + hop) + sinks;
  }

  std::int64_t widest() const override { return std::max(c_.hidden_size, q_width()); }

  void add(const PartWeights& w, const PartInput& in, std::span<float> x) const override {
    ExecContext& ctx = in.runtime.on(in.device);
    const WorkspaceScope scope(ctx.workspace);
    const std::int64_t rows = in.pass.rows();
    const auto q = ctx.workspace.take<float>(static_cast<std::size_t>(rows * q_width()));
    const auto k = ctx.workspace.take<float>(static_cast<std::size_t>(rows * kv_width()));
    const auto v = ctx.workspace.take<float>(k.size());
    const auto attended = ctx.workspace.take<float>(q.size());

    project({{&w[kQProj], &w[kQBias], q}, {&w[kKProj], &w[kKBias], k}, {&w[kVProj], &w[kVBias], v}},
            in.h, rows, in.device, in.runtime);
    if (c_.qk_norm) {
      norm_heads(w[kQNorm], c_.num_attention_heads, q, in);
      norm_heads(w[kKNorm], c_.num_key_value_heads, k, in);
    }
    AttentionParams params{.heads = c_.num_attention_heads,
                           .scale = 1.0F / std::sqrt(static_cast<float>(c_.head_dim)),
                           .sliding_window = c_.sliding_window};
    if (c_.sinks) params.sinks = vector_on(in.device, w[kSinks], in.runtime).data();
    rotate_and_attend(params, in.pass, 0, RotaryPairs::kHalves, in.layer, q, k, v, attended,
                      in.device, in.runtime);
    project({{&w[kOProj], &w[kOBias], x, true}}, attended, rows, in.device, in.runtime);
  }

 private:
  void norm_heads(const WeightView& weight, std::int64_t heads, std::span<float> x,
                  const PartInput& in) const {
    rms_norm(x, vector_on(in.device, weight, in.runtime), c_.rms_norm_eps, in.pass.rows() * heads,
             x, in.runtime.on(in.device));
  }

  std::int64_t q_width() const { return c_.num_attention_heads * c_.head_dim; }
  std::int64_t kv_width() const { return c_.num_key_value_heads * c_.head_dim; }

  GroupedAttentionConfig c_;
};

}  // namespace

GroupedAttentionConfig parse_grouped_attention(const Config& config,
                                               const PartedDecoderConfig& decoder,
                                               const GroupedAttentionDefaults& defaults) {
  GroupedAttentionConfig c{.class_prefix = decoder.class_prefix,
                           .hidden_size = decoder.hidden_size,
                           .num_attention_heads = decoder.num_attention_heads,
                           .rms_norm_eps = decoder.rms_norm_eps};
  c.num_key_value_heads = config.size("num_key_value_heads", defaults.default_key_value_heads);
  c.head_dim = config.size("head_dim", defaults.default_head_dim > 0
                                           ? defaults.default_head_dim
                                           : c.hidden_size / c.num_attention_heads);
  c.bias = config.boolean("attention_bias", defaults.default_bias);
  c.sliding_window = config.find_size("sliding_window").value_or(defaults.default_sliding_window);
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    throw config.error("num_key_value_heads",
                       str_cat("does not divide num_attention_heads = ", c.num_attention_heads));
  }
  if (c.head_dim > kMostHeadDim) {
    throw config.error("head_dim", str_cat("is ", c.head_dim, "; at most ", kMostHeadDim));
  }
  if (c.head_dim < 2 || c.head_dim % 2 != 0) {
    throw config.error("head_dim", "must be even for rotary positions");
  }
  return c;
}

std::unique_ptr<const LayerPart> make_grouped_attention(const GroupedAttentionConfig& config) {
  return std::make_unique<GroupedAttention>(config);
}

}  // namespace shoehorn
