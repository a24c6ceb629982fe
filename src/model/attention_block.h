// Self-attention of a layer in the forms that decoders have: one matrix or three, norms of queries
// and keys, rotary positions or linear biases, windows, sinks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/blocks.h"
#include "model/norm_block.h"

namespace shoehorn {

struct AttentionSpec {
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  float softcap = 0;
  RotaryPairs pairs = RotaryPairs::kHalves;
  // Modules within the layer. Either q, k and v, or qkv, whose rows are `qkv_groups` runs of
  // queries, then keys, then values: 1 where all queries come first, as many as heads in GPT-NeoX.
  std::string q = {};
  std::string k = {};
  std::string v = {};
  std::string qkv = {};
  std::int64_t qkv_groups = 1;
  std::string o = {};
  NormSpec q_norm = {};  // over a head, or over all of a row
  NormSpec k_norm = {};
  std::string sinks = {};                // parameter [heads]
  std::vector<float> alibi_slopes = {};  // [heads], or none
  float alibi_scale = 1;
  bool alibi_in_bf16 = false;

  std::int64_t q_width() const { return heads * head_dim; }
  std::int64_t kv_width() const { return kv_heads * head_dim; }
};

/// What differs from layer to layer.
struct AttentionLayer {
  static constexpr std::ptrdiff_t kNoRotary = -1;
  std::ptrdiff_t rotary = 0;        // of the tables of Architecture::rotary_tables()
  std::int64_t sliding_window = 0;  // 0: all keys are seen
  float scale = 1;                  // of scores
};

class AttentionBlock {
 public:
  AttentionBlock() = default;
  /// Names its weights. `spec` outlives the block.
  AttentionBlock(const AttentionSpec& spec, const AttentionLayer& layer, GroupBuilder& group);

  /// y = (or += where `accumulate`) o(attention(h)), both [rows, hidden_size]; y may be h.
  void run(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
           std::span<const float> h, std::span<float> y, bool accumulate, Device device,
           Runtime& runtime) const;

  /// Floats of workspace that run() takes for each row, without what hops to other devices.
  static std::int64_t row_floats(const AttentionSpec& spec);

 private:
  void project_heads(const WeightStore::Lease& w, std::span<const float> h, std::int64_t rows,
                     std::span<float> q, std::span<float> k, std::span<float> v, Device device,
                     Runtime& runtime) const;

  const AttentionSpec* spec_ = nullptr;
  AttentionLayer layer_;
  LinearSlots q_;  // or of qkv
  LinearSlots k_;
  LinearSlots v_;
  LinearSlots o_;
  std::size_t sinks_ = 0;
  NormBlock q_norm_;
  NormBlock k_norm_;
};

}  // namespace shoehorn
