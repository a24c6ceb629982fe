// The Llama family (arXiv:2302.13971, 2407.21783): RMSNorm, rotary positions, grouped-query
// attention, a gated silu mlp. Mirrors transformers' LlamaForCausalLM.
#pragma once

#include <memory>

#include "model/architecture.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_llama(const Config& config);

}  // namespace shoehorn
