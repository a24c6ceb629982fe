#include "model/latent_attention.h"

#include <algorithm>

#include "kernels/copy_runs.h"
#include "kernels/rms_norm.h"
#include "model/blocks.h"

namespace shoehorn {
namespace {

// Of the two latent norms, whatever rms_norm_eps says.
constexpr float kLatentNormEps = 1e-6F;

enum AttentionWeight : std::size_t {
  kQAProj,  // q_proj where there is no bottleneck
  kQABias,
  kQANorm,
  kQBProj,
  kQBBias,
  kKvAProj,
  kKvABias,
  kKvANorm,
  kKvBProj,
  kKvBBias,
  kOProj,
  kOBias,
};

class LatentAttention final : public LayerPart {
 public:
  explicit LatentAttention(const LatentAttentionConfig& config) : c_(config) {}

  Module module(DType dtype) const override {
    const auto linear = [&](std::int64_t out, std::int64_t in, bool bias) {
      return linear_module(out, in, bias, dtype);
    };
    const auto norm = [&](std::int64_t width) {
      return norm_module(c_.class_prefix + "RMSNorm", width, dtype);
    };
    Module module{.class_name = c_.class_prefix + "Attention"};
    if (has_bottleneck()) {
      module.children = {{"q_a_proj", linear(c_.q_lora_rank, c_.hidden_size, c_.bias)},
                         {"q_a_layernorm", norm(c_.q_lora_rank)},
                         {"q_b_proj", linear(q_width(), c_.q_lora_rank, false)}};
    } else {
      module.children = {{"q_proj", linear(q_width(), c_.hidden_size, false)}};
    }
    module.children.emplace_back("kv_a_proj_with_mqa",
                                 linear(latent_width(), c_.hidden_size, c_.bias));
    module.children.emplace_back("kv_a_layernorm", norm(c_.kv_lora_rank));
    module.children.emplace_back("kv_b_proj", linear(kv_width(), c_.kv_lora_rank, false));
    module.children.emplace_back("o_proj", linear(c_.hidden_size, v_width(), c_.bias));
    return module;
  }

  std::vector<std::string> weights(const std::string& path) const override {
    std::vector<std::string> names;
    if (has_bottleneck()) {
      add_linear_names(path, "q_a_proj", c_.bias, names);
      names.push_back(path + ".q_a_layernorm.weight");
      add_linear_names(path, "q_b_proj", false, names);
    } else {
      add_linear_names(path, "q_proj", false, names);
      names.insert(names.end(), 3, "");
    }
    add_linear_names(path, "kv_a_proj_with_mqa", c_.bias, names);
    names.push_back(path + ".kv_a_layernorm.weight");
    add_linear_names(path, "kv_b_proj", false, names);
    add_linear_names(path, "o_proj", c_.bias, names);
    return names;
  }

  std::int64_t workspace_floats(std::int64_t rows) const override {
    const std::int64_t own = 3 * q_width() + c_.q_lora_rank + latent_width() + c_.kv_lora_rank +
                             kv_width() + 2 * v_width();
    const std::int64_t hop =
        std::max({c_.hidden_size + std::max(q_width(), v_width()), c_.kv_lora_rank + kv_width(),
                  2 * q_width() + 2 * v_width()});
    return rows * (own + hop);
  }

  std::int64_t widest() const override {
    return std::max({c_.hidden_size, q_width(), v_width(), kv_width(), c_.q_lora_rank});
  }

  void add(const PartWeights& w, const PartInput& in, std::span<float> x) const override {
    ExecContext& ctx = in.runtime.on(in.device);
    const WorkspaceScope scope(ctx.workspace);
    const std::int64_t rows = in.pass.rows();
    const auto floats = [&](std::int64_t width) {
      return ctx.workspace.take<float>(static_cast<std::size_t>(rows * width));
    };
    const auto q = floats(q_width());
    const auto k = floats(q_width());
    const auto v = floats(v_width());
    const auto attended = floats(v_width());
    {
      const WorkspaceScope inner(ctx.workspace);
      // What is made of the hidden row comes in one product: queries, or what they are made of, and
      // the latent row of keys and values.
      const auto first = floats(has_bottleneck() ? c_.q_lora_rank : q_width());
      const auto latent = floats(latent_width());
      project({{&w[kQAProj], &w[kQABias], first}, {&w[kKvAProj], &w[kKvABias], latent}}, in.h, rows,
              in.device, in.runtime);
      queries(w, in, first, q);
      keys_and_values(w, in, latent, k, v);
    }
    const AttentionParams params{.heads = c_.num_attention_heads, .scale = c_.scale};
    const RotaryPairs pairs = c_.interleaved ? RotaryPairs::kInterleaved : RotaryPairs::kHalves;
    rotate_and_attend(params, in.pass, 0, pairs, in.layer, q, k, v, attended, in.device,
                      in.runtime);
    project({{&w[kOProj], &w[kOBias], x, true}}, attended, rows, in.device, in.runtime);
  }

 private:
  /// q [rows, H, r + n]. The checkpoint has the r entries that turn last; here, in queries and keys
  /// alike, they come first, where rotate() expects them. Products do not see the order. `first`
  /// [rows, q_lora_rank], or without a bottleneck [rows, H, n + r], is overwritten.
  void queries(const PartWeights& w, const PartInput& in, std::span<float> first,
               std::span<float> q) const {
    ExecContext& ctx = in.runtime.on(in.device);
    const WorkspaceScope scope(ctx.workspace);
    const std::int64_t rows = in.pass.rows();
    std::span<float> stored = first;
    if (has_bottleneck()) {
      stored = ctx.workspace.take<float>(q.size());
      rms_norm(first, vector_on(in.device, w[kQANorm], in.runtime), kLatentNormEps, rows, first,
               ctx);
      project({{&w[kQBProj], &w[kQBBias], stored}}, first, rows, in.device, in.runtime);
    }
    const std::int64_t n = c_.qk_nope_head_dim;
    const std::int64_t r = c_.qk_rope_head_dim;
    copy_runs(stored, {n + r, n}, q, {n + r, 0}, r, 1, ctx);
    copy_runs(stored, {n + r, 0}, q, {n + r, r}, n, 1, ctx);
  }

  /// k [rows, H, r + n] and v [rows, H, v_head_dim] of `latent` [rows, kv_lora_rank + r].
  void keys_and_values(const PartWeights& w, const PartInput& in, std::span<const float> latent,
                       std::span<float> k, std::span<float> v) const {
    ExecContext& ctx = in.runtime.on(in.device);
    const WorkspaceScope scope(ctx.workspace);
    const std::int64_t rows = in.pass.rows();
    const auto floats = [&](std::int64_t width) {
      return ctx.workspace.take<float>(static_cast<std::size_t>(rows * width));
    };
    const auto c = floats(c_.kv_lora_rank);
    const auto kv = floats(kv_width());
    copy_runs(latent, {latent_width(), 0}, c, {c_.kv_lora_rank, 0}, c_.kv_lora_rank, 1, ctx);
    rms_norm(c, vector_on(in.device, w[kKvANorm], in.runtime), kLatentNormEps, rows, c, ctx);
    project({{&w[kKvBProj], &w[kKvBBias], kv}}, c, rows, in.device, in.runtime);
    const std::int64_t n = c_.qk_nope_head_dim;
    const std::int64_t r = c_.qk_rope_head_dim;
    const std::int64_t d = c_.v_head_dim;
    copy_runs(latent, {latent_width(), c_.kv_lora_rank}, k, {n + r, 0}, r, c_.num_attention_heads,
              ctx);
    copy_runs(kv, {n + d, 0}, k, {n + r, r}, n, 1, ctx);
    copy_runs(kv, {n + d, n}, v, {d, 0}, d, 1, ctx);
  }

  bool has_bottleneck() const { return c_.q_lora_rank > 0; }
  std::int64_t q_width() const {
    return c_.num_attention_heads * (c_.qk_nope_head_dim + c_.qk_rope_head_dim);
  }
  std::int64_t kv_width() const {
    return c_.num_attention_heads * (c_.qk_nope_head_dim + c_.v_head_dim);
  }
  std::int64_t v_width() const { return c_.num_attention_heads * c_.v_head_dim; }
  std::int64_t latent_width() const { return c_.kv_lora_rank + c_.qk_rope_head_dim; }

  LatentAttentionConfig c_;
};

}  // namespace

std::unique_ptr<const LayerPart> make_latent_attention(const LatentAttentionConfig& config) {
  return std::make_unique<LatentAttention>(config);
}

}  // namespace shoehorn
