// What the configs of many architectures say in the same words, read and checked.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/config.h"
#include "kernels/activation.h"
#include "model/rope.h"

namespace shoehorn {

struct DecoderDims {
  std::int64_t hidden_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocab_size = 0;
  std::int64_t max_position_embeddings = 0;
};

/// What counts where a key is absent; 0: as many key-value heads as heads, a head of
/// hidden_size / num_attention_heads.
struct DimDefaults {
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t max_position_embeddings = 2048;
};

/// Throws FormatError for numbers that are missing or do not fit together.
DecoderDims read_dims(const Config& config, const DimDefaults& defaults = {});

/// The first of several names of a key that is there. Throws FormatError naming the first where
/// none is.
std::int64_t size_of_any(const Config& config, std::initializer_list<std::string_view> keys);

/// ALiBi's slopes (arXiv:2108.12409): powers of one number, and for heads beyond a power of two
/// every second one of the series twice as fine.
std::vector<float> alibi_slopes(std::int64_t heads);

/// What read_dims() checks, for those that name their numbers otherwise: `layers_key` and so on are
/// what messages call them.
void require_sane(const Config& config, const DecoderDims& dims, std::string_view layers_key,
                  std::string_view heads_key);

/// Both for a key whose null means something else than its absence: nothing where it is null.
std::optional<std::int64_t> size_or_null(const Config& config, std::string_view key,
                                         std::int64_t absent);
std::optional<double> number_or_null(const Config& config, std::string_view key, double absent);

float read_eps(const Config& config, std::string_view key, double absent);

struct ActivationConfig {
  Activation activation = Activation::kSilu;
  std::string name;  // in the config
};
/// Throws UnsupportedError naming those that are known.
ActivationConfig read_activation(const Config& config, std::string_view key,
                                 std::string_view absent);

/// True for every layer that sees a window of keys only: what `layer_types` lists, else what
/// `absent` says of a layer's number. Throws FormatError where the list has another length,
/// UnsupportedError for a type that is neither full_attention nor sliding_attention.
std::vector<bool> read_sliding_layers(const Config& config, std::int64_t layers,
                                      const std::function<bool(std::int64_t)>& absent);

/// 1 / sqrt(head_dim).
float usual_scale(std::int64_t head_dim);

/// The rotary embedding of a whole head, or, where the architecture heeds that key, of the part
/// that partial_rotary_factor gives.
RotaryEmbedding read_rotary(const Config& config, const DecoderDims& dims,
                            const RopeDefaults& defaults, bool is_partial);

/// Of a whole head; of a part where `partial` is given, which counts where the key is absent.
RotaryEmbedding read_rotary(const Config& config, const DecoderDims& dims, double rope_theta,
                            std::optional<double> partial = {});

}  // namespace shoehorn
