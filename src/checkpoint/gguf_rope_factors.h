// Llama 3.1's RoPE scaling out of a GGUF file, which holds its result (one divisor a frequency,
// rope_freqs.weight) and not its parameters.
#pragma once

#include <optional>
#include <span>

namespace shoehorn::gguf {

/// The members of Hugging Face's rope_scaling of type "llama3".
struct Llama3RopeScaling {
  double factor = 1.0;
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  double original_max_position_embeddings = 8192;
};

/// What transformers' llama3 scaling divides frequency i by: with f = rope_theta^(-2i / head_dim),
/// turns = original f / (2 pi), s = (turns - low) / (high - low): 1 where turns > high, factor
/// where turns < low, else 1 / ((1 - s) / factor + s).
double llama3_divisor(const Llama3RopeScaling& scaling, double rope_theta, std::size_t head_dim,
                      std::size_t i);

/// Parameters that give `divisors` (head_dim / 2 of them) within 1e-4 relative, or nothing. Only
/// the ratios of original, low and high follow from divisors; low is taken to be 1, as in every
/// published model. Parameters of published models are tried first, then a fit.
std::optional<Llama3RopeScaling> llama3_scaling_of(std::span<const float> divisors,
                                                   double rope_theta);

}  // namespace shoehorn::gguf
