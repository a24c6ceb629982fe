#include "checkpoint/gguf_names.h"

#include <algorithm>
#include <array>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::gguf {
namespace {

constexpr std::array<ModuleName, 3> kLlamaModules = {{
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
}};

// The converter of this architecture interleaves the rows of q and k, weights and biases alike.
constexpr std::array<ModuleName, 9> kLlamaLayerModules = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj", Layout::kQueryRows},
    {"attn_k", "self_attn.k_proj", Layout::kKeyValueRows},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

// Others rotate halves in llama.cpp too: their rows are as Hugging Face has them.
constexpr std::array<ModuleName, 11> kQwenLayerModules = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

constexpr std::array<ModuleName, 13> kGemma2LayerModules = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_output", "self_attn.o_proj"},
    {"post_attention_norm", "post_attention_layernorm"},
    {"ffn_norm", "pre_feedforward_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
}};

constexpr std::array<ModuleName, 6> kPhi3LayerModules = {{
    {"attn_norm", "input_layernorm"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_up", "mlp.gate_up_proj"},
    {"ffn_down", "mlp.down_proj"},
}};

constexpr std::array<ModuleName, 8> kStarcoder2LayerModules = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_up", "mlp.c_fc"},
    {"ffn_down", "mlp.c_proj"},
}};

constexpr std::array<ModuleName, 13> kMixtralLayerModules = {{
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj", Layout::kQueryRows},
    {"attn_k", "self_attn.k_proj", Layout::kKeyValueRows},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate_inp", "block_sparse_moe.gate"},
    {"ffn_gate_exps", "block_sparse_moe.experts.*.w1"},
    {"ffn_down_exps", "block_sparse_moe.experts.*.w2"},
    {"ffn_up_exps", "block_sparse_moe.experts.*.w3"},
    // Files of 2023 and early 2024 have a tensor an expert.
    {"ffn_gate.*", "block_sparse_moe.experts.*.w1"},
    {"ffn_down.*", "block_sparse_moe.experts.*.w2"},
    {"ffn_up.*", "block_sparse_moe.experts.*.w3"},
}};

constexpr std::array<ModuleName, 4> kGpt2Modules = {{
    {"token_embd", "transformer.wte"},
    {"position_embd", "transformer.wpe"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
}};

constexpr std::array<ModuleName, 6> kGpt2LayerModules = {{
    {"attn_norm", "ln_1"},
    {"attn_qkv", "attn.c_attn", Layout::kTransposed},
    {"attn_output", "attn.c_proj", Layout::kTransposed},
    {"ffn_norm", "ln_2"},
    {"ffn_up", "mlp.c_fc", Layout::kTransposed},
    {"ffn_down", "mlp.c_proj", Layout::kTransposed},
}};

constexpr std::array<ModuleName, 3> kFalconModules = {{
    {"token_embd", "transformer.word_embeddings"},
    {"output_norm", "transformer.ln_f"},
    {"output", "lm_head"},
}};

constexpr std::array<ModuleName, 5> kFalconLayerModules = {{
    {"attn_norm", "input_layernorm"},
    {"attn_qkv", "self_attention.query_key_value", Layout::kGroupedQkv},
    {"attn_output", "self_attention.dense"},
    {"ffn_up", "mlp.dense_h_to_4h"},
    {"ffn_down", "mlp.dense_4h_to_h"},
}};

// The 40B and 180B models have a norm for each block.
constexpr std::array<ModuleName, 6> kFalcon40LayerModules = {{
    {"attn_norm", "ln_mlp"},
    {"attn_norm_2", "ln_attn"},
    {"attn_qkv", "self_attention.query_key_value", Layout::kGroupedQkv},
    {"attn_output", "self_attention.dense"},
    {"ffn_up", "mlp.dense_h_to_4h"},
    {"ffn_down", "mlp.dense_4h_to_h"},
}};

constexpr std::array<Architecture, 12> kArchitectures = {{
    {"llama", kLlamaModules, "model.layers.", kMixtralLayerModules, "blk.0.ffn_gate_inp.weight"},
    {"llama", kLlamaModules, "model.layers.", kLlamaLayerModules},
    {"qwen2", kLlamaModules, "model.layers.", kQwenLayerModules},
    {"qwen3", kLlamaModules, "model.layers.", kQwenLayerModules},
    {"gemma", kLlamaModules, "model.layers.", kQwenLayerModules},
    {"gemma2", kLlamaModules, "model.layers.", kGemma2LayerModules},
    {"gemma3", kLlamaModules, "model.layers.", kGemma2LayerModules},
    {"phi3", kLlamaModules, "model.layers.", kPhi3LayerModules},
    {"starcoder2", kLlamaModules, "model.layers.", kStarcoder2LayerModules},
    {"gpt2", kGpt2Modules, "transformer.h.", kGpt2LayerModules},
    {"falcon", kFalconModules, "transformer.h.", kFalcon40LayerModules, "blk.0.attn_norm_2.weight"},
    {"falcon", kFalconModules, "transformer.h.", kFalconLayerModules},
}};

/// The number that a layer's name starts with, as it is spelled there: digits without zeros in
/// front, so that no two spellings meet in one name.
std::string_view leading_number(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 6 || (digits > 1 && text[0] == '0')) return {};
  return text.substr(0, digits);
}

struct FoundModule {
  std::string name;
  Layout layout = Layout::kSame;
};

/// Hugging Face's name of the module `gguf`, with the number in it that a * stands for.
std::optional<FoundModule> find_module(std::span<const ModuleName> modules, std::string_view gguf) {
  for (const ModuleName& module : modules) {
    if (module.gguf == gguf && !module.gguf.ends_with('*')) {
      return FoundModule{std::string(module.hugging_face), module.layout};
    }
    if (!module.gguf.ends_with('*')) continue;
    const std::string_view stem = module.gguf.substr(0, module.gguf.size() - 1);
    if (!gguf.starts_with(stem)) continue;
    const std::string_view number = leading_number(gguf.substr(stem.size()));
    if (number.empty() || stem.size() + number.size() != gguf.size()) continue;
    std::string name(module.hugging_face);
    name.replace(name.find('*'), 1, number);
    return FoundModule{std::move(name), module.layout};
  }
  return std::nullopt;
}

}  // namespace

const Architecture& architecture_named(std::string_view name, const std::filesystem::path& path,
                                       const std::function<bool(std::string_view)>& has_tensor) {
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    const bool is_marked = !architecture.mark.empty();
    if (architecture.name == name &&
        (!is_marked || (has_tensor && has_tensor(architecture.mark)))) {
      return architecture;
    }
    if (!is_marked) known += str_cat(known.empty() ? "" : ", ", architecture.name);
  }
  throw UnsupportedError(str_cat(path.string(), ": general.architecture is ", printable(name),
                                 "; supported GGUF architectures are ", known));
}

std::optional<HuggingFaceName> hugging_face_name(const Architecture& architecture,
                                                 std::string_view gguf_name) {
  constexpr std::string_view kLayer = "blk.";
  const std::size_t last_dot = gguf_name.rfind('.');
  if (last_dot == std::string_view::npos) return std::nullopt;
  const std::string_view suffix = gguf_name.substr(last_dot);
  if (suffix != ".weight" && suffix != ".bias") return std::nullopt;
  const std::string_view stem = gguf_name.substr(0, last_dot);
  if (!stem.starts_with(kLayer)) {
    const auto module = find_module(architecture.modules, stem);
    if (!module) return std::nullopt;
    return HuggingFaceName{str_cat(module->name, suffix), module->layout};
  }
  const std::string_view number = leading_number(stem.substr(kLayer.size()));
  const std::string_view rest = stem.substr(kLayer.size() + number.size());
  if (number.empty() || !rest.starts_with('.')) return std::nullopt;
  const auto module = find_module(architecture.layer_modules, rest.substr(1));
  if (!module) return std::nullopt;
  return HuggingFaceName{str_cat(architecture.layer_prefix, number, ".", module->name, suffix),
                         module->layout};
}

}  // namespace shoehorn::gguf
