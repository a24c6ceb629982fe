// The likeliest of a row of logits: the greedy choice.
#pragma once

#include <cstdint>
#include <span>

namespace shoehorn {

/// The index of the largest of x: of equal ones the first, never one that is no number; -1 where
/// all are such or there is none. As cuda::argmax() has it.
std::int32_t argmax(std::span<const float> x);

}  // namespace shoehorn
