// A norm within a layer, or over the heads of queries and keys: RMS (arXiv:1910.07467) or layer
// norm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/runtime.h"
#include "model/weight_slots.h"
#include "weights/weight_store.h"

namespace shoehorn {

struct NormSpec {
  enum class Kind : std::uint8_t { kNone, kRms, kLayer };
  Kind kind = Kind::kNone;
  std::string name = {};  // of its module, in the layer
  std::int64_t width = 0;
  float eps = 0;
  float weight_offset = 0;  // Gemma's weights are stored less 1
  /// StableLM keeps a module a head, `name`.norms.0 and so on, with weights of its own: their
  /// number. 0: one module.
  std::int64_t modules = 0;
  std::int64_t weight_rows = 1;  // Cohere has one for every head, in one tensor

  /// The same over another width under another name.
  NormSpec named(std::string other, std::int64_t other_width) const {
    NormSpec spec = *this;
    spec.name = std::move(other);
    spec.width = other_width;
    return spec;
  }
};

class NormBlock {
 public:
  NormBlock() = default;
  /// Names its weights.
  NormBlock(const NormSpec& spec, GroupBuilder& group);

  bool exists() const { return spec_.kind != NormSpec::Kind::kNone; }

  /// y = norm of every run of spec.width values of x; y may be x.
  void apply(const WeightStore::Lease& w, std::span<const float> x, std::span<float> y,
             Device device, Runtime& runtime) const;

  /// Floats of workspace that apply() takes at most: weights that live on another device.
  std::int64_t workspace_floats() const;

 private:
  std::span<const float> weights(const WeightStore::Lease& w, Device device,
                                 Runtime& runtime) const;

  NormSpec spec_;
  std::vector<std::size_t> weights_;  // one a module
  std::size_t bias_ = 0;
};

}  // namespace shoehorn
