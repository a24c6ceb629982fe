// gpt-oss (arXiv:2508.10925): attention with sinks, a window on every other layer, experts with
// biases and a clamped gate.
#pragma once

#include <memory>

#include "model/architecture.h"

namespace shoehorn {

std::unique_ptr<const Architecture> make_gpt_oss(const Config& config);

}  // namespace shoehorn
