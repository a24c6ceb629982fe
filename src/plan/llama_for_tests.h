// A model of the Llama family in any size, with the costs of its weights: what the planner's tests
// plan.
#pragma once

#include <cstdint>
#include <string>

#include "plan/plan.h"

namespace shoehorn {

inline constexpr std::size_t kMiB = std::size_t{1} << 20;

inline Module linear(std::int64_t out, std::int64_t in) {
  return {.class_name = "Linear", .parameters = {{"weight", {out, in}, DType::kBF16}}};
}

inline Module norm(std::int64_t size) {
  return {.class_name = "RMSNorm", .parameters = {{"weight", {size}, DType::kBF16}}};
}

/// A model of the Llama family in miniature (or not), and the costs of its weights as stored.
struct Llama {
  explicit Llama(int layers, std::int64_t hidden = 512, std::int64_t vocab = 4096,
                 bool tied = false) {
    Module stack{.class_name = "ModuleList"};
    for (int i = 0; i < layers; ++i) {
      Module attention{.class_name = "Attention",
                       .children = {{"q_proj", linear(hidden, hidden)},
                                    {"k_proj", linear(hidden / 4, hidden)},
                                    {"v_proj", linear(hidden / 4, hidden)},
                                    {"o_proj", linear(hidden, hidden)}}};
      Module mlp{.class_name = "MLP",
                 .children = {{"gate_proj", linear(hidden * 3, hidden)},
                              {"up_proj", linear(hidden * 3, hidden)},
                              {"down_proj", linear(hidden, hidden * 3)}}};
      stack.children.emplace_back(std::to_string(i),
                                  Module{.class_name = "DecoderLayer",
                                         .children = {{"self_attn", attention},
                                                      {"mlp", mlp},
                                                      {"input_layernorm", norm(hidden)},
                                                      {"post_attention_layernorm", norm(hidden)}}});
      input.layer_paths.push_back("model.layers." + std::to_string(i));
    }
    Module rotary{.class_name = "Rotary",
                  .buffers = {{"inv_freq", {32}, DType::kF32, /*persistent=*/false}}};
    tree.root = {.class_name = "LlamaForCausalLM",
                 .children = {{"model",
                               {.class_name = "LlamaModel",
                                .children = {{"embed_tokens", linear(vocab, hidden)},
                                             {"layers", stack},
                                             {"norm", norm(hidden)},
                                             {"rotary_emb", rotary}}}},
                              {"lm_head", linear(vocab, hidden)}}};
    if (tied) tree.ties.push_back({"model.embed_tokens.weight", "lm_head.weight"});
    for (const TreeTensor& tensor : tree_tensors(tree)) {
      if (!tensor.persistent || (tied && tensor.path == "lm_head.weight")) continue;
      const std::size_t bytes = *packed_bytes(tensor.dtype, tensor.shape.elements());
      const bool rows_only = !tied && tensor.path == "model.embed_tokens.weight";
      input.weights.push_back({.path = tensor.path,
                               .resident_bytes = bytes,
                               .streamed_bytes = rows_only ? hidden * 2 : bytes,
                               .staging_bytes = bytes,
                               .flops_per_token = rows_only ? 0.0 : static_cast<double>(bytes),
                               .rows_only = rows_only});
      total_bytes += bytes;
    }
    input.tree = &tree;
    input.kv_bytes_per_layer.assign(input.layer_paths.size(), 100'000);
    input.devices[DeviceKey::cpu()] = {.limit_bytes = std::size_t{8} << 30,
                                       .workspace_bytes = 1 * kMiB,
                                       .process_bytes = 2 * kMiB};
    input.reserve_fraction = 0.02;
    input.reserve_bytes = kMiB;
  }
  Llama(const Llama&) = delete;

  void limit_cpu(std::size_t bytes) { input.devices[DeviceKey::cpu()].limit_bytes = bytes; }
  void add_accelerator(int index, std::size_t bytes) {
    input.devices[DeviceKey::accelerator(index)] = {.limit_bytes = bytes};
  }

  ModuleTree tree;
  PlanInput input;
  std::size_t total_bytes = 0;
};

}  // namespace shoehorn
