// Weights that nobody trained: values that a seed makes up in memory, so that a model of any shape
// can be run and measured without a file. Counter-based: a value depends on the seed, the tensor's
// name and the value's position alone, so any thread may make any range of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checkpoint/value_source.h"
#include "tensor/dtype.h"

namespace shoehorn {

/// How the values of one tensor are drawn: mean + deviation x (about a standard normal), then the
/// chosen columns multiplied by `column_scale`.
struct SyntheticRecipe {
  float mean = 0;
  float deviation = 0.02F;
  std::vector<std::int64_t> columns = {};  // of the last dimension, ascending
  float column_scale = 1;                  // a power of two
};

/// Immutable and thread-safe.
class SyntheticValues final : public ValueSource {
 public:
  /// `recipes` by the names of the tensors; types are F32, BF16 and F16.
  SyntheticValues(std::uint64_t seed, std::unordered_map<std::string, SyntheticRecipe> recipes);

  /// The tensor has a recipe.
  void read_at(const TensorInfo& info, std::uint64_t offset,
               std::span<std::byte> out) const override;
  std::string identity(const TensorInfo& info) const override;

 private:
  /// Magnitudes in a fixed order, as they are stored: what a tensor's blocks are cut from.
  using Pool = std::vector<std::byte>;
  struct Recipe {
    SyntheticRecipe values;
    std::uint64_t key = 0;
    const Pool* pools[3] = {};  // of F32, BF16, F16
  };

  float value_at(const Recipe& recipe, const TensorInfo& info, std::uint64_t position) const;
  void patch_columns(const Recipe& recipe, const TensorInfo& info, std::uint64_t offset,
                     std::span<std::byte> out) const;

  std::uint64_t seed_;
  std::vector<float> magnitudes_;
  std::map<float, std::vector<Pool>> pools_;  // by deviation
  std::unordered_map<std::string, Recipe> recipes_;
};

}  // namespace shoehorn
