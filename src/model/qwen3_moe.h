// Qwen3's mixtures of experts (arXiv:2505.09388): heads of q and k are normed, some layers may have
// a plain mlp.
#pragma once

#include <memory>

#include "model/architecture.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_qwen3_moe(const Config& config);

}  // namespace shoehorn
