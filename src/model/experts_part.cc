#include "model/experts_part.h"

#include <algorithm>

#include "base/checked.h"
#include "base/str_cat.h"
#include "model/blocks.h"
#include "model/mlp_part.h"

namespace shoehorn {
namespace {

// Of all experts of a layer: a thousand times what any model has.
constexpr std::int64_t kMostElements = std::int64_t{1} << 46;

enum ExpertsWeight : std::size_t {
  kRouter,
  kRouterBias,
  kCorrection,
  kGateUp,
  kGateUpBias,
  kDown,
  kDownBias,
  kShared,  // the shared expert's begin here
};

/// Values of a part's device where the host reads them.
class HostFloats {
 public:
  HostFloats(std::span<const float> values, const PartInput& in) : span_(values) {
    if (in.device.kind != DeviceKind::kCuda || values.empty()) return;
    copy_.resize(values.size());
    in.runtime.copy(Device{}, copy_.data(), in.device, values.data(), values.size_bytes());
    span_ = copy_;
  }
  std::span<const float> span() const { return span_; }

 private:
  std::vector<float> copy_;
  std::span<const float> span_;
};

class ExpertsPart final : public LayerPart {
 public:
  explicit ExpertsPart(const ExpertsConfig& config) : c_(config) {
    if (c_.shared_intermediate_size > 0) {
      shared_ = make_mlp({.class_name = c_.class_prefix + "MLP",
                          .hidden_size = c_.hidden_size,
                          .intermediate_size = c_.shared_intermediate_size});
    }
  }

  Module module(DType dtype) const override {
    // DeepSeek-V3's router is float32 whatever the rest is.
    const DType router_dtype = c_.correction_bias ? DType::kF32 : dtype;
    Module router{.class_name = c_.router_class,
                  .parameters = {{"weight", Shape{experts(), c_.hidden_size}, router_dtype}}};
    if (c_.router_bias) router.parameters.push_back({"bias", Shape{experts()}, dtype});
    if (c_.correction_bias) {
      router.buffers = {{"e_score_correction_bias", Shape{experts()}, DType::kF32, true}};
    }
    Module block{.class_name = c_.block_class,
                 .children = {{"experts", experts_module(dtype)}, {c_.router_name, router}}};
    if (c_.router_first) std::swap(block.children[0], block.children[1]);
    if (shared_) block.children.emplace_back("shared_experts", shared_->module(dtype));
    return block;
  }

  std::vector<std::string> weights(const std::string& path) const override {
    const std::string router = path + "." + c_.router_name;
    const std::string stacks = path + ".experts.";
    std::vector<std::string> names = {router + ".weight",
                                      c_.router_bias ? router + ".bias" : "",
                                      c_.correction_bias ? router + ".e_score_correction_bias" : "",
                                      stacks + "gate_up_proj",
                                      is_clamped() ? stacks + "gate_up_proj_bias" : "",
                                      stacks + "down_proj",
                                      is_clamped() ? stacks + "down_proj_bias" : ""};
    if (shared_) {
      const auto shared = shared_->weights(path + ".shared_experts");
      names.insert(names.end(), shared.begin(), shared.end());
    }
    return names;
  }

  std::vector<ExpertStack> stacks(const std::string& path) const override {
    const std::string own = path + ".experts.";
    std::string stored = own;
    if (!c_.stored_block.empty()) {
      stored = path.substr(0, path.rfind('.') + 1) + c_.stored_block + ".experts.";
    }
    const std::int64_t d = c_.hidden_size;
    const std::int64_t i = c_.intermediate_size;
    const auto parts = static_cast<std::int64_t>(c_.gate_up_parts.size());
    const double used = static_cast<double>(c_.rule.chosen) / static_cast<double>(c_.rule.experts);
    std::vector<ExpertStack> stacks = {{.path = own + "gate_up_proj",
                                        .shape = Shape{parts * experts(), 2 * i / parts, d},
                                        .is_transposed = is_clamped(),
                                        .prefix = stored,
                                        .parts = c_.gate_up_parts,
                                        .used = used},
                                       {.path = own + "down_proj",
                                        .shape = Shape{experts(), d, i},
                                        .is_transposed = is_clamped(),
                                        .prefix = stored,
                                        .parts = {c_.down_part},
                                        .used = used}};
    if (is_clamped()) {
      stacks.push_back({.path = own + "gate_up_proj_bias", .shape = Shape{experts(), 2 * i}});
      stacks.push_back({.path = own + "down_proj_bias", .shape = Shape{experts(), d}});
    }
    return stacks;
  }

  std::int64_t workspace_floats(std::int64_t rows) const override {
    const std::int64_t routed =
        experts_workspace_floats(c_.rule, rows, c_.hidden_size, c_.intermediate_size);
    return shared_ ? std::max(routed, shared_->workspace_floats(rows)) : routed;
  }

  std::int64_t widest() const override {
    return std::max(
        {c_.hidden_size, 2 * c_.intermediate_size, c_.shared_intermediate_size, experts()});
  }

  void add(const PartWeights& w, const PartInput& in, std::span<float> x) const override {
    add_routed(w, in, x);
    if (shared_) shared_->add(w.after(kShared), in, x);
  }

 private:
  void add_routed(const PartWeights& w, const PartInput& in, std::span<float> x) const {
    ExecContext& ctx = in.runtime.on(in.device);
    const WorkspaceScope scope(ctx.workspace);
    const std::int64_t rows = in.pass.rows();
    const auto logits = ctx.workspace.take<float>(static_cast<std::size_t>(rows * experts()));
    project({{&w[kRouter], &w[kRouterBias], logits}}, in.h, rows, in.device, in.runtime);
    Routing routing(c_.rule, rows);
    const HostFloats host_logits(logits, in);
    const HostFloats correction(c_.correction_bias
                                    ? vector_on(in.device, w[kCorrection], in.runtime)
                                    : std::span<const float>{},
                                in);
    route(c_.rule, host_logits.span(), correction.span(), routing);
    const ExpertWeights weights{.glu = c_.glu,
                                .gate_up = &w[kGateUp],
                                .gate_up_bias = &w[kGateUpBias],
                                .down = &w[kDown],
                                .down_bias = &w[kDownBias],
                                .limit = c_.limit,
                                .alpha = c_.alpha};
    add_experts(weights, routing, in.h, rows, x, in.device, in.runtime);
  }

  Module experts_module(DType dtype) const {
    const std::int64_t e = experts();
    const std::int64_t d = c_.hidden_size;
    const std::int64_t i = c_.intermediate_size;
    Module module{.class_name = c_.class_prefix + "Experts"};
    if (is_clamped()) {
      module.parameters = {{"gate_up_proj", Shape{e, d, 2 * i}, dtype},
                           {"gate_up_proj_bias", Shape{e, 2 * i}, dtype},
                           {"down_proj", Shape{e, i, d}, dtype},
                           {"down_proj_bias", Shape{e, d}, dtype}};
    } else {
      module.parameters = {{"gate_up_proj", Shape{e, 2 * i, d}, dtype},
                           {"down_proj", Shape{e, d, i}, dtype}};
      module.children = {{"act_fn", Module{.class_name = "SiLUActivation"}}};
    }
    return module;
  }

  bool is_clamped() const { return c_.glu == ExpertWeights::Glu::kClamped; }
  std::int64_t experts() const { return c_.rule.experts; }

  ExpertsConfig c_;
  std::unique_ptr<const LayerPart> shared_;
};

}  // namespace

std::shared_ptr<const LayerPart> make_experts(const ExpertsConfig& experts, const Config& config) {
  const RouterRule& rule = experts.rule;
  if (rule.chosen > rule.experts) {
    throw config.error("num_experts_per_tok",
                       str_cat("is ", rule.chosen, ", of ", rule.experts, " experts"));
  }
  if (rule.experts % rule.groups != 0) {
    throw config.error("n_group", str_cat("is ", rule.groups, ", which does not divide ",
                                          rule.experts, " experts"));
  }
  if (rule.best_groups > rule.groups ||
      rule.chosen > rule.experts / rule.groups * rule.best_groups) {
    throw config.error("topk_group",
                       str_cat("is ", rule.best_groups, " of ", rule.groups, " groups, for ",
                               rule.chosen, " of ", rule.experts, " experts"));
  }
  const auto elements =
      checked_mul(2 * experts.intermediate_size, rule.experts);  // each below 2^31
  if (!elements || !checked_mul(*elements, experts.hidden_size) ||
      *elements * experts.hidden_size > kMostElements) {
    throw config.error(
        "num_experts_per_tok",
        str_cat("chooses from ", rule.experts, " experts of ", experts.intermediate_size, " x ",
                experts.hidden_size, ", which are larger than those of any model"));
  }
  return std::make_shared<const ExpertsPart>(experts);
}

}  // namespace shoehorn
