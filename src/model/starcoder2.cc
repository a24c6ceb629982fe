// StarCoder2 (arXiv:2402.19173): Llama's layout with layer norms, biases and a plain mlp. Mirrors
// transformers' Starcoder2ForCausalLM.
#include "model/architectures.h"
#include "model/llama_like.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_starcoder2(const Config& config) {
  LlamaLike m{
      .prefix = "Starcoder2",
      .dims = read_dims(config, {.num_key_value_heads = 2, .max_position_embeddings = 4096})};
  m.tie_word_embeddings = config.boolean("tie_word_embeddings", true);
  m.norm = {.kind = NormSpec::Kind::kLayer, .eps = read_eps(config, "norm_epsilon", 1e-5)};
  m.qkv_bias = m.o_bias = m.mlp_bias = config.boolean("use_bias", true);
  m.rotary = {read_rotary(config, m.dims, 10000)};
  m.intermediate_size = config.size("intermediate_size");
  m.activation = read_activation(config, "hidden_act", "gelu_pytorch_tanh");
  m.mlp = LlamaLike::Mlp::kPlain;
  m.first = "c_fc";
  m.second = "c_proj";
  m.act_name = "act";
  if (const auto window = config.find_size("sliding_window")) {
    m.layers = windowed_layers(
        m.dims, std::vector<bool>(static_cast<std::size_t>(m.dims.num_hidden_layers), true),
        *window);
  }
  return make_decoder(llama_like(m));
}

}  // namespace shoehorn
