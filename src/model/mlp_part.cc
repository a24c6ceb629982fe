#include "model/mlp_part.h"

#include <algorithm>

#include "kernels/activation.h"
#include "model/blocks.h"

namespace shoehorn {
namespace {

enum MlpWeight : std::size_t { kGateProj, kUpProj, kDownProj };

class Mlp final : public LayerPart {
 public:
  explicit Mlp(const MlpConfig& config) : c_(config) {}

  Module module(DType dtype) const override {
    const std::int64_t i = c_.intermediate_size;
    return {.class_name = c_.class_name,
            .children = {{"gate_proj", linear_module(i, c_.hidden_size, false, dtype)},
                         {"up_proj", linear_module(i, c_.hidden_size, false, dtype)},
                         {"down_proj", linear_module(c_.hidden_size, i, false, dtype)},
                         {"act_fn", Module{.class_name = "SiLUActivation"}}}};
  }

  std::vector<std::string> weights(const std::string& path) const override {
    return {path + ".gate_proj.weight", path + ".up_proj.weight", path + ".down_proj.weight"};
  }

  std::int64_t workspace_floats(std::int64_t rows) const override {
    return rows * (2 * c_.intermediate_size + c_.hidden_size + c_.intermediate_size);
  }

  std::int64_t widest() const override { return std::max(c_.hidden_size, c_.intermediate_size); }

  void add(const PartWeights& w, const PartInput& in, std::span<float> x) const override {
    ExecContext& ctx = in.runtime.on(in.device);
    const WorkspaceScope scope(ctx.workspace);
    const std::int64_t rows = in.pass.rows();
    const auto gate =
        ctx.workspace.take<float>(static_cast<std::size_t>(rows * c_.intermediate_size));
    const auto up = ctx.workspace.take<float>(gate.size());
    const WeightView no_bias{};
    project_gated(Activation::kSilu, {&w[kGateProj], &no_bias, gate}, {&w[kUpProj], &no_bias, up},
                  in.h, rows, in.device, in.runtime);
    project({{&w[kDownProj], &no_bias, x, true}}, gate, rows, in.device, in.runtime);
  }

 private:
  MlpConfig c_;
};

}  // namespace

std::unique_ptr<const LayerPart> make_mlp(const MlpConfig& config) {
  return std::make_unique<Mlp>(config);
}

}  // namespace shoehorn
