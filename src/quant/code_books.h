// The values that codes stand for: the sixteen of NF4 and FP4, the 256 of the dynamic maps that
// absmax and optimizer states are stored in, and how a value finds its four-bit code.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "quant/weight_form.h"

namespace shoehorn {

/// The values of the sixteen codes, as bitsandbytes saves them in quant_map: NF4 (QLoRA,
/// arXiv:2305.14314, appendix E; ascending) or FP4 (k / 12; a sign bit and three bits that are not
/// in the order of the values). FP4's code 8 is +0. Throws ArgumentError for other types.
std::span<const float, 16> four_bit_code(QuantType type);

/// bitsandbytes' create_dynamic_map(signed=True): 256 ascending values from -0.9929687 to 1, dense
/// around zero (arXiv:1511.04561). Code 127 is 0.
std::span<const float, 256> dynamic_map();

/// create_dynamic_map(signed=False): 256 ascending values from 0 to 1.
std::span<const float, 256> unsigned_dynamic_map();

/// How bitsandbytes' CPU backend decides: a value has as many codes below it as there are midpoints
/// strictly below, so that one equal to a midpoint takes the lower code. NaN takes the highest.
struct FourBitDecision {
  std::array<float, 15> midpoints;     // fl(fl(a + b) / 2) of neighbours, ascending
  std::array<std::uint8_t, 16> codes;  // in the order of their values; FP4's 0 before its 8
};

/// The decision of NF4 or FP4. Throws ArgumentError for other types.
const FourBitDecision& four_bit_decision(QuantType type);

/// The code of `value`, which is already divided by its absmax.
inline std::uint8_t four_bit_code_of(const FourBitDecision& decision, float value) {
  unsigned below = 0;
  for (const float midpoint : decision.midpoints) below += value <= midpoint ? 0U : 1U;
  return decision.codes[below];
}

}  // namespace shoehorn
