// Rotary position embeddings (RoFormer, arXiv:2104.09864) and the ways to stretch them that
// config.json names: linear, dynamic, llama3, yarn (arXiv:2309.00071), longrope. Mirrors
// transformers' ROPE_INIT_FUNCTIONS.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"

namespace shoehorn {

/// The settings, from `rope_parameters` or from the older `rope_theta` and `rope_scaling`.
struct RopeConfig {
  std::string rope_type = "default";
  double rope_theta = 10000;
  double partial_rotary_factor = 1;
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;
  std::optional<double> attention_factor = {};
  std::optional<double> mscale = {};
  std::optional<double> mscale_all_dim = {};
  std::int64_t original_max_position_embeddings = 0;
  std::int64_t max_position_embeddings = 0;
  std::vector<double> short_factor = {};
  std::vector<double> long_factor = {};
};

/// What counts where no key says otherwise.
struct RopeDefaults {
  double rope_theta = 10000;
  double partial_rotary_factor = 1;
  std::int64_t original_max_position_embeddings = 0;  // 0: max_position_embeddings
  /// Older names of keys at the top: GPT-NeoX has rotary_emb_base and rotary_pct.
  std::string_view theta_key = "rope_theta";
  std::string_view partial_key = "partial_rotary_factor";
  /// Phi-3's files say "su" or "yarn" for what is longrope now.
  bool all_types_are_longrope = false;
  /// Where partial_rotary_factor leaves an odd number of entries, one more turns: those whose
  /// modules cut heads where their tables end.
  bool odd_turns_one_more = false;
};

/// Reads either spelling. Throws FormatError for values that make no sense, UnsupportedError for a
/// rope_type that is not known, naming those that are.
RopeConfig parse_rope_config(const Config& config, const RopeDefaults& defaults,
                             std::int64_t max_position_embeddings);
RopeConfig parse_rope_config(const Config& config, double default_theta,
                             std::int64_t max_position_embeddings);

/// The settings within one dictionary, for models that have several (Gemma 3). Throws as above.
RopeConfig parse_rope_settings(const Config& config, const std::optional<Config>& settings,
                               const RopeDefaults& defaults, std::int64_t max_position_embeddings);

/// What dynamic scaling remembers of a sequence: transformers' max_seq_len_cached.
struct RopeState {
  std::int64_t longest_call = 0;
};

/// Angles for one model. Immutable, thread-safe.
class RotaryEmbedding {
 public:
  /// Of theta^(-2i/dim), 2i < dim; `dim` is positive. yarn and longrope need an even one.
  RotaryEmbedding(RopeConfig config, std::int64_t dim);

  /// Dimensions of a head that are turned: `dim`, or one more where that is odd.
  std::int64_t rotary_dim() const { return (dim_ + 1) / 2 * 2; }

  /// The longest call that longrope's short factors serve; 0 for other types.
  std::int64_t short_context() const {
    return long_.empty() ? 0 : config_.original_max_position_embeddings;
  }

  /// Frequencies [rotary_dim / 2] of a call that ends before position `call_length`; updates what
  /// the sequence remembers.
  std::vector<float> frequencies(std::int64_t call_length, RopeState& state) const;

  /// cos and sin [positions, rotary_dim / 2] of position · frequency, times the attention factor.
  void table(std::span<const std::int32_t> positions, std::span<const float> frequencies,
             std::span<float> cos, std::span<float> sin) const;

 private:
  std::vector<float> scaled(double theta, const std::vector<double>& factors) const;

  RopeConfig config_;
  std::int64_t dim_;
  float attention_scaling_ = 1;
  std::vector<float> plain_;  // of calls within the original length
  std::vector<float> long_;   // longrope: of longer ones
};

}  // namespace shoehorn
