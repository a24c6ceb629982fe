// Mixtral (arXiv:2401.04088): Mistral's layers with experts in place of their mlp.
#pragma once

#include <memory>

#include "model/architecture.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_mixtral(const Config& config);

}  // namespace shoehorn
