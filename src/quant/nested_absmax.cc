#include "quant/nested_absmax.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <vector>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "quant/blockwise.h"
#include "quant/code_books.h"
#include "quant/weight_form.h"

namespace shoehorn {
namespace {

constexpr std::size_t kLanes = 8;         // of torch's vectors, AVX-512 or not
constexpr std::size_t kAccumulators = 4;  // interleaved, to hide the latency of additions
constexpr std::size_t kLevels = 4;

template <std::size_t kWidth>
using Lanes = std::array<float, kWidth>;

template <std::size_t kWidth>
void add(Lanes<kWidth>& sum, const float* values) {
  for (std::size_t lane = 0; lane < kWidth; ++lane) sum[lane] += values[lane];
}

/// Sums `groups` groups of kWidth neighbours, lane by lane. A step adds one group to each of the
/// accumulators; after every 2^power steps the lowest level is added into the next and cleared,
/// after 2^power of those that one too, so that sums grow evenly.
template <std::size_t kWidth>
Lanes<kWidth> cascade_sum(const float* values, std::size_t groups) {
  const std::size_t steps = groups / kAccumulators;
  const std::size_t log2_steps = steps < 2 ? 0 : std::bit_width(steps - 1);  // rounded up
  const std::size_t power = std::max<std::size_t>(4, log2_steps / kLevels);
  std::array<std::array<Lanes<kWidth>, kAccumulators>, kLevels> levels{};

  for (std::size_t step = 0; step < steps; ++step) {
    for (std::size_t a = 0; a < kAccumulators; ++a) {
      add(levels[0][a], values + (step * kAccumulators + a) * kWidth);
    }
    const std::size_t done = step + 1;
    for (std::size_t level = 1; level < kLevels; ++level) {
      if (done % (std::size_t{1} << (level * power)) != 0) break;
      for (std::size_t a = 0; a < kAccumulators; ++a) {
        add(levels[level][a], levels[level - 1][a].data());
        levels[level - 1][a] = {};
      }
    }
  }
  for (std::size_t a = 0; a < kAccumulators; ++a) {
    for (std::size_t level = 1; level < kLevels; ++level) {
      add(levels[0][a], levels[level][a].data());
    }
  }
  for (std::size_t group = steps * kAccumulators; group < groups; ++group) {
    add(levels[0][0], values + group * kWidth);
  }
  for (std::size_t a = 1; a < kAccumulators; ++a) add(levels[0][0], levels[0][a].data());
  return levels[0][0];
}

float torch_sum(std::span<const float> values) {
  if (values.size() < kLanes) return cascade_sum<1>(values.data(), values.size())[0];
  const std::size_t groups = values.size() / kLanes;
  const Lanes<kLanes> lanes = cascade_sum<kLanes>(values.data(), groups);
  float sum = 0.0F;
  for (const float value : values.subspan(groups * kLanes)) sum += value;
  for (const float lane : lanes) sum += lane;
  return sum;
}

float double_mean(std::span<const float> values) {
  double sum = 0.0;
  for (const float value : values) sum += value;
  return values.empty() ? 0.0F : static_cast<float>(sum / static_cast<double>(values.size()));
}

void check(std::size_t absmax, std::size_t codes, std::size_t nested_absmax) {
  const std::size_t blocks = (absmax + kNestedBlocksize - 1) / kNestedBlocksize;
  if (codes != absmax || nested_absmax != blocks) {
    throw ArgumentError(str_cat(absmax, " absmax do not make ", codes, " codes with ",
                                nested_absmax, " nested_absmax"));
  }
}

}  // namespace

float torch_mean(std::span<const float> values) {
  return values.empty() ? 0.0F : torch_sum(values) / static_cast<float>(values.size());
}

void nest_absmax(std::span<const float> absmax, BnbParity parity, std::span<std::uint8_t> codes,
                 std::span<float> nested_absmax, float& nested_offset) {
  check(absmax.size(), codes.size(), nested_absmax.size());
  nested_offset = parity == BnbParity::kCpu ? torch_mean(absmax) : double_mean(absmax);
  std::vector<float> differences(absmax.begin(), absmax.end());
  for (float& difference : differences) difference -= nested_offset;
  quantize_blockwise(dynamic_map(), kNestedBlocksize, parity, differences, codes, nested_absmax);
}

void unnest_absmax(std::span<const std::uint8_t> codes, std::span<const float> nested_absmax,
                   std::span<const float, 256> map, float nested_offset, std::span<float> absmax) {
  check(absmax.size(), codes.size(), nested_absmax.size());
  dequantize_blockwise(map, kNestedBlocksize, codes, nested_absmax, absmax.data());
  for (float& value : absmax) value += nested_offset;
}

}  // namespace shoehorn
