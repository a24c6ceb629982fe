#include "model/synthetic_shapes.h"

#include <array>
#include <cstdint>

#include "base/str_cat.h"

namespace shoehorn {
namespace {

struct LlamaShape {
  std::string_view name;
  std::int64_t num_hidden_layers;
  std::int64_t hidden_size;
  std::int64_t intermediate_size;
  std::int64_t num_attention_heads;
  std::int64_t num_key_value_heads;
  std::int64_t vocab_size;
  std::int64_t max_position_embeddings;
  std::int64_t rope_theta;
  std::string_view rms_norm_eps;
  bool tie_word_embeddings;
};

// HuggingFaceTB/SmolLM2-135M, TinyLlama/TinyLlama-1.1B, meta-llama/Llama-2-7b and 13b, LLaMA 30B
// (arXiv:2302.13971 calls it 33B), meta-llama/Meta-Llama-3-8B and 70B.
constexpr std::array kShapes = {
    LlamaShape{"smollm2-135m", 30, 576, 1536, 9, 3, 49152, 8192, 100000, "1e-5", true},
    LlamaShape{"llama-1.1b", 22, 2048, 5632, 32, 4, 32000, 2048, 10000, "1e-5", false},
    LlamaShape{"llama-2-7b", 32, 4096, 11008, 32, 32, 32000, 4096, 10000, "1e-5", false},
    LlamaShape{"llama-13b", 40, 5120, 13824, 40, 40, 32000, 4096, 10000, "1e-5", false},
    LlamaShape{"llama-30b", 60, 6656, 17920, 52, 52, 32000, 2048, 10000, "1e-6", false},
    LlamaShape{"llama-3-8b", 32, 4096, 14336, 32, 8, 128256, 8192, 500000, "1e-5", false},
    LlamaShape{"llama-3-70b", 80, 8192, 28672, 64, 8, 128256, 8192, 500000, "1e-5", false},
};

}  // namespace

std::string synthetic_config(std::string_view shape) {
  for (const LlamaShape& s : kShapes) {
    if (s.name != shape) continue;
    return str_cat(R"({"model_type": "llama", "hidden_act": "silu", "torch_dtype": "bfloat16")",
                   R"(, "num_hidden_layers": )", s.num_hidden_layers, R"(, "hidden_size": )",
                   s.hidden_size, R"(, "intermediate_size": )", s.intermediate_size,
                   R"(, "num_attention_heads": )", s.num_attention_heads,
                   R"(, "num_key_value_heads": )", s.num_key_value_heads, R"(, "vocab_size": )",
                   s.vocab_size, R"(, "max_position_embeddings": )", s.max_position_embeddings,
                   R"(, "rope_theta": )", s.rope_theta, R"(, "rms_norm_eps": )", s.rms_norm_eps,
                   R"(, "tie_word_embeddings": )", s.tie_word_embeddings ? "true" : "false", "}");
  }
  return "";
}

std::string synthetic_shape_names() {
  std::string names;
  for (const LlamaShape& shape : kShapes) names += str_cat(names.empty() ? "" : ", ", shape.name);
  return names;
}

}  // namespace shoehorn
