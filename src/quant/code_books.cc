#include "quant/code_books.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

constexpr std::array<float, 16> kNF4 = {
    -1.0F,
    -0.6961928009986877F,
    -0.5250730514526367F,
    -0.39491748809814453F,
    -0.28444138169288635F,
    -0.18477343022823334F,
    -0.09105003625154495F,
    0.0F,
    0.07958029955625534F,
    0.16093020141124725F,
    0.24611230194568634F,
    0.33791524171829224F,
    0.44070982933044434F,
    0.5626170039176941F,
    0.7229568362236023F,
    1.0F,
};

constexpr std::array<float, 16> make_fp4() {
  // Twelve times the magnitudes; the least is 1/16 of a twelfth, the format's one subnormal.
  constexpr std::array<float, 8> kTwelfths = {0.0F, 0.0625F, 8.0F, 12.0F, 4.0F, 6.0F, 2.0F, 3.0F};
  std::array<float, 16> code{};
  for (std::size_t i = 0; i < 8; ++i) {
    code[i] = kTwelfths[i] / 12.0F;
    code[i + 8] = i == 0 ? 0.0F : -code[i];
  }
  return code;
}

constexpr std::array<float, 16> kFP4 = make_fp4();

constexpr FourBitDecision make_decision(const std::array<float, 16>& code) {
  FourBitDecision decision{};
  for (std::uint8_t i = 0; i < 16; ++i) {
    // Insertion, which keeps the order of equal values.
    std::size_t at = i;
    for (; at > 0 && code[decision.codes[at - 1]] > code[i]; --at) {
      decision.codes[at] = decision.codes[at - 1];
    }
    decision.codes[at] = i;
  }
  for (std::size_t i = 0; i < 15; ++i) {
    decision.midpoints[i] = (code[decision.codes[i]] + code[decision.codes[i + 1]]) / 2.0F;
  }
  return decision;
}

constexpr FourBitDecision kNF4Decision = make_decision(kNF4);
constexpr FourBitDecision kFP4Decision = make_decision(kFP4);

// FP4's two zeros are neighbours with their midpoint at zero.
static_assert(kFP4Decision.codes ==
              std::array<std::uint8_t, 16>{11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3});
static_assert(kFP4Decision.midpoints[7] == 0.0F);

[[noreturn]] void refuse(QuantType type) {
  throw ArgumentError(
      str_cat(to_string(type), " has no table of sixteen values; nf4 and fp4 have"));
}

/// torch.linspace(0.1, 1, steps + 1) in float32 on a CPU: counted from the nearer end, each value
/// rounded once.
float linspace(int step, int steps) {
  const float width = (1.0F - 0.1F) / static_cast<float>(steps);
  // Of the steps + 1 values the first half counts up.
  if (step < (steps + 1) / 2) return std::fma(width, static_cast<float>(step), 0.1F);
  return std::fma(-width, static_cast<float>(steps - step), 1.0F);
}

/// create_dynamic_map: seven decades, each with twice the values of the one below, which are the
/// means of neighbours in an even division of [0.1, 1].
std::array<float, 256> make_dynamic_map(bool with_signs) {
  constexpr std::array<float, 7> kDecades = {1e-6F, 1e-5F, 1e-4F, 1e-3F, 1e-2F, 1e-1F, 1.0F};
  std::array<float, 256> map{};
  std::size_t count = 0;
  for (int i = 0; i < 7; ++i) {
    const int fractions = with_signs ? 1 << i : 2 << i;
    for (int j = 0; j < fractions; ++j) {
      const float mean = (linspace(j, fractions) + linspace(j + 1, fractions)) / 2.0F;
      const float value = kDecades[static_cast<std::size_t>(i)] * mean;
      map[count++] = value;
      if (with_signs) map[count++] = -value;
    }
  }
  map[count++] = 0.0F;
  map[count++] = 1.0F;
  std::sort(map.begin(), map.end());
  return map;
}

}  // namespace

std::span<const float, 16> four_bit_code(QuantType type) {
  if (type == QuantType::kNF4) return kNF4;
  if (type == QuantType::kFP4) return kFP4;
  refuse(type);
}

const FourBitDecision& four_bit_decision(QuantType type) {
  if (type == QuantType::kNF4) return kNF4Decision;
  if (type == QuantType::kFP4) return kFP4Decision;
  refuse(type);
}

std::span<const float, 256> dynamic_map() {
  static const std::array<float, 256> map = make_dynamic_map(true);
  return map;
}

std::span<const float, 256> unsigned_dynamic_map() {
  static const std::array<float, 256> map = make_dynamic_map(false);
  return map;
}

}  // namespace shoehorn
