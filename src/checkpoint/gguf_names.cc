#include "checkpoint/gguf_names.h"

#include <algorithm>
#include <array>

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
    {"attn_q", "self_attn.q_proj", RowHeads::kQuery},
    {"attn_k", "self_attn.k_proj", RowHeads::kKeyValue},
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

constexpr std::array<Architecture, 8> kArchitectures = {{
    {"llama", kLlamaModules, "model.layers.", kLlamaLayerModules},
    {"qwen2", kLlamaModules, "model.layers.", kQwenLayerModules},
    {"qwen3", kLlamaModules, "model.layers.", kQwenLayerModules},
    {"gemma", kLlamaModules, "model.layers.", kQwenLayerModules},
    {"gemma2", kLlamaModules, "model.layers.", kGemma2LayerModules},
    {"gemma3", kLlamaModules, "model.layers.", kGemma2LayerModules},
    {"phi3", kLlamaModules, "model.layers.", kPhi3LayerModules},
    {"starcoder2", kLlamaModules, "model.layers.", kStarcoder2LayerModules},
}};

const ModuleName* find_module(std::span<const ModuleName> modules, std::string_view gguf) {
  const auto found = std::find_if(modules.begin(), modules.end(),
                                  [&](const ModuleName& module) { return module.gguf == gguf; });
  return found == modules.end() ? nullptr : &*found;
}

/// The number that a layer's name starts with, as it is spelled there: digits without zeros in
/// front, so that no two spellings meet in one name.
std::string_view leading_number(std::string_view text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits == 0 || digits > 6 || (digits > 1 && text[0] == '0')) return {};
  return text.substr(0, digits);
}

}  // namespace

const Architecture& architecture_named(std::string_view name, const std::filesystem::path& path) {
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return architecture;
    known += str_cat(known.empty() ? "" : ", ", architecture.name);
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
    const ModuleName* module = find_module(architecture.modules, stem);
    if (module == nullptr) return std::nullopt;
    return HuggingFaceName{str_cat(module->hugging_face, suffix), module->rows};
  }
  const std::string_view number = leading_number(stem.substr(kLayer.size()));
  const std::string_view rest = stem.substr(kLayer.size() + number.size());
  if (number.empty() || !rest.starts_with('.')) return std::nullopt;
  const ModuleName* module = find_module(architecture.layer_modules, rest.substr(1));
  if (module == nullptr) return std::nullopt;
  return HuggingFaceName{
      str_cat(architecture.layer_prefix, number, ".", module->hugging_face, suffix), module->rows};
}

}  // namespace shoehorn::gguf
