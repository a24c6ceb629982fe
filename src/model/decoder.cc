#include "model/decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "kernels/add.h"
#include "kernels/copy.h"
#include "kernels/scale.h"
#include "model/tree_parts.h"

namespace shoehorn {
namespace {

/// What comes between the embedding and the first layer; its weights are in the first layer's
/// group.
struct Entrance {
  std::optional<LinearSlots> project_in;
  std::optional<std::size_t> positions;
  NormBlock norm;
};

struct Layer {
  NormBlock pre_attention;
  NormBlock post_attention;
  NormBlock after_attention;
  NormBlock pre_mlp;
  NormBlock post_mlp;
  NormBlock after_mlp;
  AttentionBlock attention;
  MlpBlock mlp;
};

struct Exit {
  NormBlock norm;
  std::optional<LinearSlots> project_out;
  LinearSlots head;
};

class Decoder final : public Architecture {
 public:
  explicit Decoder(DecoderSpec spec);

  const DecoderShape& shape() const override { return shape_; }
  ModuleTree module_tree(DType dtype) const override;
  std::string_view base_model_prefix() const override { return spec_.base_model_prefix; }
  std::vector<WeightGroupNames> weight_groups() const override { return groups_; }
  std::size_t workspace_bytes(std::int64_t rows, std::int64_t logits_rows) const override;
  std::vector<RotaryTable> rotary_tables(const Batch& batch) const override;
  std::vector<std::pair<std::string, std::string>> stored_names() const override {
    return spec_.stored_names;
  }
  std::span<const float> alibi_slopes() const override { return spec_.attention.alibi_slopes; }
  void check_positions(const Batch& batch) const override;
  std::int64_t short_context() const override {
    return spec_.rotary.empty() ? 0 : spec_.rotary.front().short_context();
  }

  void embed_tokens(const Pass& pass, WeightStore& weights, std::span<float> x, Device device,
                    Runtime& runtime) const override;
  void decoder_layer(const WeightStore::Lease& w, std::int64_t layer, const Pass& pass,
                     std::span<float> x, Device device, Runtime& runtime) const override;
  void head(const WeightStore::Lease& w, const Pass& pass, std::span<const float> x,
            const PassResult& result, Device device, Runtime& runtime) const override;

 private:
  void name_weights();
  void measure();
  void enter(const WeightStore::Lease& w, const Pass& pass, std::span<float> x, Device device,
             Runtime& runtime) const;
  void add_positions(const WeightView& table, const Pass& pass, std::span<float> x, Device device,
                     Runtime& runtime) const;
  void add_in_parallel(const Layer& layer, const WeightStore::Lease& w, std::int64_t index,
                       const Pass& pass, std::span<float> x, Device device, Runtime& runtime) const;
  template <typename Run>
  void add_block(const NormBlock& before, const NormBlock& within, const NormBlock& after,
                 const WeightStore::Lease& w, std::span<float> x, Device device, Runtime& runtime,
                 const Run& run) const;

  DecoderSpec spec_;
  DecoderShape shape_;
  std::vector<WeightGroupNames> groups_;
  Entrance entrance_;
  std::vector<Layer> layers_;
  Exit exit_;
  std::int64_t vector_floats_ = 0;  // of weights that are copied to where they are used
};

Decoder::Decoder(DecoderSpec spec) : spec_(std::move(spec)) {
  name_weights();
  measure();
}

void Decoder::name_weights() {
  const ParameterPaths paths(spec_.tree);
  groups_ = {{spec_.embed_tokens, {spec_.embed_tokens + ".weight"}}};
  const auto count = static_cast<std::int64_t>(spec_.attention_layers.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string name = spec_.layers + "." + std::to_string(i);
    GroupBuilder group(paths, name, "");
    if (i == 0) {
      if (!spec_.project_in.empty()) entrance_.project_in = group.add_linear(spec_.project_in);
      if (!spec_.embed_positions.empty()) {
        entrance_.positions = group.add(spec_.embed_positions + ".weight");
      }
      entrance_.norm = NormBlock(spec_.embedding_norm, group);
    }
    group.set_prefix(name + ".");
    Layer layer;
    const LayerNorms& norms = spec_.norms;
    layer.pre_attention = NormBlock(norms.pre_attention, group);
    layer.attention =
        AttentionBlock(spec_.attention, spec_.attention_layers[static_cast<std::size_t>(i)], group);
    layer.post_attention = NormBlock(norms.post_attention, group);
    layer.after_attention = NormBlock(norms.after_attention, group);
    layer.pre_mlp = NormBlock(norms.pre_mlp, group);
    layer.mlp = MlpBlock(spec_.mlp, group);
    layer.post_mlp = NormBlock(norms.post_mlp, group);
    layer.after_mlp = NormBlock(norms.after_mlp, group);
    for (const NormBlock* norm : {&layer.pre_attention, &layer.pre_mlp}) {
      vector_floats_ = std::max(vector_floats_, norm->workspace_floats());
    }
    layers_.push_back(std::move(layer));
    groups_.push_back(group.group());
  }
  GroupBuilder group(paths, spec_.lm_head, "");
  exit_.norm = NormBlock(spec_.final_norm, group);
  if (!spec_.project_out.empty()) exit_.project_out = group.add_linear(spec_.project_out);
  exit_.head = group.add_linear(spec_.lm_head);
  groups_.push_back(group.group());
}

void Decoder::measure() {
  const AttentionSpec& attention = spec_.attention;
  const std::int64_t qkv = attention.q_width() + 2 * attention.kv_width();
  const std::int64_t inner = spec_.mlp.intermediate_size;
  shape_.hidden_size = std::max(spec_.hidden_size, spec_.embedding_size);
  shape_.vocab_size = spec_.vocab_size;
  shape_.max_position_embeddings = spec_.max_position_embeddings;
  shape_.num_attention_heads = attention.heads;
  shape_.widest_input = std::max({shape_.hidden_size, attention.q_width(), inner});
  shape_.widest_output =
      std::max({shape_.hidden_size, attention.qkv.empty() ? attention.q_width() : qkv,
                spec_.mlp.gate_up.empty() ? inner : 2 * inner});
  for (const AttentionLayer& layer : spec_.attention_layers) {
    shape_.layers.push_back({.num_key_value_heads = attention.kv_heads,
                             .head_dim = attention.head_dim,
                             .sliding_window = layer.sliding_window});
  }
  for (const NormSpec* norm : {&attention.q_norm, &attention.k_norm}) {
    const std::int64_t vectors = std::max<std::int64_t>(norm->modules, 1) * norm->weight_rows;
    vector_floats_ = std::max(vector_floats_, 2 * vectors * (norm->width + 16));
  }
  // Sinks come to where the layer is, and go on to where its cache is.
  if (!attention.sinks.empty()) vector_floats_ += 2 * (attention.heads + 16);
  vector_floats_ += 2 * (shape_.widest_output + shape_.widest_input) + spec_.vocab_size;
}

ModuleTree Decoder::module_tree(DType dtype) const {
  ModuleTree tree = spec_.tree;
  set_parameter_dtype(tree.root, dtype);
  return tree;
}

std::size_t Decoder::workspace_bytes(std::int64_t rows, std::int64_t logits_rows) const {
  // Beside x: what its norms give, what a block gives before it is added, and what attention or the
  // mlp takes. Before the first layer, learned positions and their numbers take no more.
  const std::int64_t norms = 2 * shape_.hidden_size;
  const std::int64_t block =
      std::max(AttentionBlock::row_floats(spec_.attention), MlpBlock::row_floats(spec_.mlp));
  // A weight that lives elsewhere has its input and output copied there, attention where its cache
  // lies elsewhere what it reads.
  const std::int64_t hop = std::max(shape_.widest_input + shape_.widest_output,
                                    spec_.attention.q_width() + 2 * spec_.attention.kv_width());
  const std::int64_t floats = rows * (shape_.hidden_size + norms + block + hop) + vector_floats_ +
                              logits_rows * 2 * shape_.hidden_size;
  return static_cast<std::size_t>(floats) * sizeof(float) + 64 * 64;
}

std::vector<RotaryTable> Decoder::rotary_tables(const Batch& batch) const {
  std::vector<RotaryTable> tables;
  for (const RotaryEmbedding& rotary : spec_.rotary) tables.push_back(rotary_table(rotary, batch));
  return tables;
}

void Decoder::check_positions(const Batch& batch) const {
  if (spec_.embed_positions.empty()) return;
  for (const BatchSequence& sequence : batch.sequences) {
    for (const std::int32_t position : sequence.positions) {
      if (position >= 0 && position < spec_.max_position_embeddings) continue;
      throw PlanError(str_cat("position ", position, " is past the ", spec_.max_position_embeddings,
                              " that the model has learned; it takes no longer texts"));
    }
  }
}

void Decoder::embed_tokens(const Pass& pass, WeightStore& weights, std::span<float> x,
                           Device device, Runtime& runtime) const {
  const auto embedded = x.first(static_cast<std::size_t>(pass.rows() * spec_.embedding_size));
  embed(pass, 0, 0, weights, embedded, device, runtime);
  if (spec_.embedding_multiplier != 1) {
    scale(embedded, spec_.embedding_multiplier, runtime.on(device));
  }
}

void Decoder::enter(const WeightStore::Lease& w, const Pass& pass, std::span<float> x,
                    Device device, Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  if (entrance_.project_in) {
    const WorkspaceScope scope(ctx.workspace);
    const auto size = static_cast<std::size_t>(pass.rows() * spec_.embedding_size);
    const auto embedded = ctx.workspace.take<float>(size);
    copy_values(x.first(size), embedded, ctx);
    x = x.first(static_cast<std::size_t>(pass.rows() * spec_.hidden_size));
    const auto& [weight, bias] = *entrance_.project_in;
    project({{&w[weight], &w[bias], x}}, embedded, pass.rows(), device, runtime);
  }
  if (entrance_.positions) add_positions(w[*entrance_.positions], pass, x, device, runtime);
  if (entrance_.norm.exists()) entrance_.norm.apply(w, x, x, device, runtime);
}

void Decoder::add_positions(const WeightView& table, const Pass& pass, std::span<float> x,
                            Device device, Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const std::size_t row_bytes = packed_bytes(table.form.dtype, spec_.hidden_size).value();
  WeightView learned = table;
  learned.data += static_cast<std::size_t>(spec_.position_offset) * row_bytes;
  const auto found = ctx.workspace.take<float>(x.size());
  look_up(learned, LookUpBy::kPosition, pass, found, device, runtime);
  add(x, found, ctx);
}

void Decoder::decoder_layer(const WeightStore::Lease& w, std::int64_t index, const Pass& pass,
                            std::span<float> x, Device device, Runtime& runtime) const {
  const Layer& layer = layers_[static_cast<std::size_t>(index)];
  if (index == 0) enter(w, pass, x, device, runtime);
  // The residual stream has room for the embedding, which may be wider.
  x = x.first(static_cast<std::size_t>(pass.rows() * spec_.hidden_size));
  if (spec_.is_parallel) return add_in_parallel(layer, w, index, pass, x, device, runtime);
  add_block(layer.pre_attention, layer.post_attention, layer.after_attention, w, x, device, runtime,
            [&](std::span<const float> h, std::span<float> y, bool accumulate) {
              layer.attention.run(w, index, pass, h, y, accumulate, device, runtime);
            });
  add_block(layer.pre_mlp, layer.post_mlp, layer.after_mlp, w, x, device, runtime,
            [&](std::span<const float> h, std::span<float> y, bool accumulate) {
              layer.mlp.run(w, h, pass.rows(), y, accumulate, device, runtime);
            });
}

template <typename Run>
void Decoder::add_block(const NormBlock& before, const NormBlock& within, const NormBlock& after,
                        const WeightStore::Lease& w, std::span<float> x, Device device,
                        Runtime& runtime, const Run& run) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  std::span<const float> h = x;
  if (before.exists()) {
    const auto normed = ctx.workspace.take<float>(x.size());
    before.apply(w, x, normed, device, runtime);
    h = normed;
  }
  if (spec_.adds_to_normed) copy_values(h, x, ctx);
  if (!within.exists() && spec_.residual_multiplier == 1) {
    run(h, x, /*accumulate=*/true);
  } else {
    const auto y = ctx.workspace.take<float>(x.size());
    run(h, y, /*accumulate=*/false);
    if (within.exists()) within.apply(w, y, y, device, runtime);
    if (spec_.residual_multiplier == 1) {
      add(x, y, ctx);
    } else {
      add_scaled(x, y, spec_.residual_multiplier, ctx);
    }
  }
  if (after.exists()) after.apply(w, x, x, device, runtime);
}

void Decoder::add_in_parallel(const Layer& layer, const WeightStore::Lease& w, std::int64_t index,
                              const Pass& pass, std::span<float> x, Device device,
                              Runtime& runtime) const {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const auto h = ctx.workspace.take<float>(x.size());
  layer.pre_attention.apply(w, x, h, device, runtime);
  auto mlp_h = h;
  if (layer.pre_mlp.exists()) {
    mlp_h = ctx.workspace.take<float>(x.size());
    layer.pre_mlp.apply(w, x, mlp_h, device, runtime);
  }
  layer.attention.run(w, index, pass, h, x, /*accumulate=*/true, device, runtime);
  layer.mlp.run(w, mlp_h, pass.rows(), x, /*accumulate=*/true, device, runtime);
}

void Decoder::head(const WeightStore::Lease& w, const Pass& pass, std::span<const float> x,
                   const PassResult& result, Device device, Runtime& runtime) const {
  const LanguageHead head{
      .norm =
          [&](std::span<const float> from, std::span<float> to) {
            if (exit_.norm.exists()) return exit_.norm.apply(w, from, to, device, runtime);
            copy_values(from, to, runtime.on(device));
          },
      .hidden_size = spec_.hidden_size,
      .project_out = exit_.project_out ? &w[exit_.project_out->weight] : nullptr,
      .weight = &w[exit_.head.weight],
      .bias = &w[exit_.head.bias],
      .multiplier = spec_.logits_multiplier,
      .softcap = spec_.logits_softcap};
  language_head(head, x.first(static_cast<std::size_t>(pass.rows() * spec_.hidden_size)), pass,
                result, device, runtime);
}

}  // namespace

std::unique_ptr<const Architecture> make_decoder(DecoderSpec spec) {
  return std::make_unique<Decoder>(std::move(spec));
}

}  // namespace shoehorn
