// The dense architectures that the registry knows: each reads its config and describes itself to
// decoder.h. Every one throws FormatError for values that make no sense and UnsupportedError for
// what shoehorn does not compute, naming the key.
#pragma once

#include <memory>

#include "model/architecture.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_bloom(const Config& config);
std::unique_ptr<const Architecture> make_cohere(const Config& config);
std::unique_ptr<const Architecture> make_falcon(const Config& config);
std::unique_ptr<const Architecture> make_gemma(const Config& config);
std::unique_ptr<const Architecture> make_gemma2(const Config& config);
std::unique_ptr<const Architecture> make_gemma3_text(const Config& config);
std::unique_ptr<const Architecture> make_glm4(const Config& config);
std::unique_ptr<const Architecture> make_gpt2(const Config& config);
std::unique_ptr<const Architecture> make_gpt_neox(const Config& config);
std::unique_ptr<const Architecture> make_gptj(const Config& config);
std::unique_ptr<const Architecture> make_granite(const Config& config);
std::unique_ptr<const Architecture> make_llama(const Config& config);
std::unique_ptr<const Architecture> make_mistral(const Config& config);
std::unique_ptr<const Architecture> make_olmo2(const Config& config);
std::unique_ptr<const Architecture> make_opt(const Config& config);
std::unique_ptr<const Architecture> make_phi(const Config& config);
std::unique_ptr<const Architecture> make_phi3(const Config& config);
std::unique_ptr<const Architecture> make_qwen2(const Config& config);
std::unique_ptr<const Architecture> make_qwen3(const Config& config);
std::unique_ptr<const Architecture> make_smollm3(const Config& config);
std::unique_ptr<const Architecture> make_stablelm(const Config& config);
std::unique_ptr<const Architecture> make_starcoder2(const Config& config);

}  // namespace shoehorn
