// DeepSeek-V3 (arXiv:2412.19437): latent attention, experts chosen by groups beside one that every
// row goes to, plain layers first.
#pragma once

#include <memory>

#include "model/architecture.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_deepseek_v3(const Config& config);

}  // namespace shoehorn
