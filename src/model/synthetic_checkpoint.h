// A checkpoint without files: an architecture's own tensors, with values that a seed makes up.
#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/checkpoint.h"

namespace shoehorn {

/// `shape` is a name that synthetic_shape_names() lists, a config.json, or a folder with one. Its
/// torch_dtype (bfloat16 where there is none) is the type of every tensor. The values keep
/// activations near one in every layer, as bench/make_checkpoint.py's do, and the norms lift six
/// features over LLM.int8()'s threshold, as in trained models (arXiv:2208.07339). Throws
/// ArgumentError for an unknown name, and what reading the config throws.
Checkpoint synthetic_checkpoint(const std::string& shape, std::uint64_t seed);

}  // namespace shoehorn
