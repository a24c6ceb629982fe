#include "api/product_times.h"

#include <algorithm>
#include <map>
#include <string>

#include "base/memory_status.h"
#include "kernels/product_probe.h"

namespace shoehorn {
namespace {

// Loops that a layer runs in parallel beside its products: norms, rotation, cache, attention,
// activation.
constexpr double kLoopsOfLayer = 8;

// The probe's own memory.
constexpr std::size_t kProbeBytes = std::size_t{160} << 20;

}  // namespace

void measure_products(const OpenedModel& opened, const RunShape& shape, const TierForms& tiers,
                      PlanInput& input) {
  if (memory_status().free_bytes < kProbeBytes) return;
  std::size_t model_bytes = 0;
  for (const WeightCost& cost : input.weights) {
    if (!cost.rows_only) model_bytes += cost.resident_bytes;
  }
  std::map<std::string, const ResolvedWeight*> by_path;
  for (const ResolvedWeight& weight : opened.resolved.weights) by_path[weight.path] = &weight;
  ThreadPool pool(shape.threads);
  const auto prompt_rows = std::min<std::int64_t>(
      shape.max_rows, static_cast<std::int64_t>(std::max<std::size_t>(input.prefill_tokens, 1)));
  ProductProbe probe(pool, shape.isa, shape.max_batch, prompt_rows, model_bytes);
  for (WeightCost& cost : input.weights) {
    if (cost.flops_per_token == 0) continue;
    const ResolvedWeight& weight = *by_path.at(cost.path);
    if (weight.shape.rank() != 2) continue;  // experts: the rates say it
    const auto times = [&](const WeightForm& form) {
      const auto measured = probe.measure(form, opened.compute_of(form.quant_type), weight.shape);
      return ProductTimes{.pass_s = measured.pass_s, .row_s = measured.row_s};
    };
    cost.times = times(weight.form);
    for (auto& [device, tier] : cost.tiers) tier.times = times(tiers.form_of(weight, device));
  }
  input.sync_s_per_layer = kLoopsOfLayer * probe.measure_loop_s();
}

}  // namespace shoehorn
