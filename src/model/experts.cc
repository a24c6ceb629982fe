#include "model/experts.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "cuda/memory.h"
#include "kernels/activation.h"
#include "kernels/add.h"
#include "kernels/expert_rows.h"

namespace shoehorn {
namespace {

/// Scores of one row, by what they choose.
class RowRouter {
 public:
  explicit RowRouter(const RouterRule& rule)
      : rule_(rule),
        scores_(static_cast<std::size_t>(rule.experts)),
        choices_(static_cast<std::size_t>(rule.experts)),
        order_(static_cast<std::size_t>(rule.experts)) {}

  void route(std::span<const float> logits, std::span<const float> correction,
             std::span<std::int32_t> experts, std::span<float> weights) {
    score(logits);
    std::ranges::copy(scores_, choices_.begin());
    for (std::size_t e = 0; e < correction.size(); ++e) choices_[e] += correction[e];
    std::iota(order_.begin(), order_.end(), 0);
    if (rule_.groups > 1) keep_best_groups();
    take_best(order_, choices_, experts.size());
    std::copy_n(order_.begin(), experts.size(), experts.begin());
    std::ranges::sort(experts);
    for (std::size_t i = 0; i < experts.size(); ++i) {
      weights[i] = scores_[static_cast<std::size_t>(experts[i])];
    }
    finish(weights);
  }

 private:
  void score(std::span<const float> logits) {
    if (rule_.scores == RouterRule::Scores::kSigmoid) {
      std::ranges::transform(logits, scores_.begin(),
                             [](float z) { return 1.0F / (1.0F + std::exp(-z)); });
    } else {
      std::ranges::copy(logits, scores_.begin());
      if (rule_.scores == RouterRule::Scores::kSoftmax) softmax(scores_);
    }
  }

  static void softmax(std::span<float> values) {
    const float most = *std::ranges::max_element(values);
    float sum = 0;
    for (float& value : values) sum += value = std::exp(value - most);
    for (float& value : values) value /= sum;
  }

  /// The `count` indices with the largest values come first, in any order.
  static void take_best(std::vector<std::int32_t>& order, const std::vector<float>& values,
                        std::size_t count) {
    if (count >= order.size()) return;
    std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count - 1),
                     order.end(), [&](std::int32_t a, std::int32_t b) {
                       const float left = rank_of(values[static_cast<std::size_t>(a)]);
                       const float right = rank_of(values[static_cast<std::size_t>(b)]);
                       return left != right ? left > right : a < b;
                     });
  }

  /// A NaN is less than every number, so that choosing is an order whatever the weights are.
  static float rank_of(float value) {
    return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value;
  }

  /// The sum of the two largest, or the only one.
  static float best_two(std::span<const float> values) {
    float first = rank_of(values[0]);
    if (values.size() == 1) return first;
    float second = rank_of(values[1]);
    if (second > first) std::swap(first, second);
    for (const float value : values.subspan(2)) {
      const float rank = rank_of(value);
      if (rank > first) {
        second = std::exchange(first, rank);
      } else {
        second = std::max(second, rank);
      }
    }
    return first + second;
  }

  /// Leaves the experts of the best groups in order_.
  void keep_best_groups() {
    const auto size = static_cast<std::size_t>(rule_.experts / rule_.groups);
    std::vector<float> best(static_cast<std::size_t>(rule_.groups));
    std::vector<std::int32_t> groups(best.size());
    std::iota(groups.begin(), groups.end(), 0);
    for (std::size_t g = 0; g < best.size(); ++g) {
      best[g] = best_two(std::span(choices_).subspan(g * size, size));
    }
    const auto kept = static_cast<std::size_t>(rule_.best_groups);
    take_best(groups, best, kept);
    groups.resize(std::min(kept, groups.size()));
    order_.clear();
    for (const std::int32_t group : groups) {
      for (std::size_t i = 0; i < size; ++i) {
        order_.push_back(static_cast<std::int32_t>(static_cast<std::size_t>(group) * size + i));
      }
    }
  }

  void finish(std::span<float> weights) const {
    if (rule_.scores == RouterRule::Scores::kSoftmaxOfTop) softmax(weights);
    if (rule_.normalize) {
      float sum = rule_.scores == RouterRule::Scores::kSigmoid ? 1e-20F : 0;
      for (const float weight : weights) sum += weight;
      for (float& weight : weights) weight /= sum;
    }
    for (float& weight : weights) weight *= rule_.scale;
  }

  const RouterRule& rule_;
  std::vector<float> scores_;   // what weights are made of
  std::vector<float> choices_;  // what chooses
  std::vector<std::int32_t> order_;
};

/// The rows that go to each expert, one expert after the other.
struct RowsByExpert {
  std::vector<std::int32_t> rows;
  std::vector<float> weights;
  std::vector<std::size_t> first;  // of each expert, one more at the end

  RowsByExpert(const Routing& routing, std::int64_t experts)
      : rows(routing.experts.size()),
        weights(routing.experts.size()),
        first(static_cast<std::size_t>(experts) + 1) {
    for (const std::int32_t e : routing.experts) ++first[static_cast<std::size_t>(e) + 1];
    std::partial_sum(first.begin(), first.end(), first.begin());
    std::vector<std::size_t> next(first.begin(), first.end() - 1);
    for (std::size_t i = 0; i < routing.experts.size(); ++i) {
      const std::size_t at = next[static_cast<std::size_t>(routing.experts[i])]++;
      rows[at] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) / routing.chosen);
      weights[at] = routing.weights[i];
    }
  }
};

/// Vector i of a stack of them [n, width].
WeightView vector_of(const WeightView* stack, std::int64_t i) {
  if (stack == nullptr || stack->data == nullptr) return {};
  WeightView vector = *stack;
  const std::int64_t width = stack->shape[1];
  vector.shape = Shape{width};
  vector.data += static_cast<std::size_t>(i * width) * sizeof(float);
  return vector;
}

void fill_zero(std::span<float> x, ExecContext& ctx) {
  if (ctx.queue != nullptr) return cuda::fill_async(*ctx.queue, x.data(), 0, x.size_bytes());
  std::ranges::fill(x, 0.0F);
}

/// One layer's experts at work.
class Experts {
 public:
  Experts(const ExpertWeights& w, std::int64_t hidden_size, Device device, Runtime& runtime)
      : w_(w), width_(hidden_size), device_(device), runtime_(runtime), ctx_(runtime.on(device)) {}

  std::int64_t experts() const { return w_.down->shape[0]; }

  /// Several experts of one row: their first matrices are multiplied in one loop.
  void one_row(const Routing& routing, std::span<const float> h, std::span<float> sum) {
    const WorkspaceScope scope(ctx_.workspace);
    const auto inner = static_cast<std::size_t>(w_.down->shape[2]);
    const std::size_t count = routing.experts.size();
    const auto gate = ctx_.workspace.take<float>(count * inner);
    const auto up = ctx_.workspace.take<float>(count * inner);
    gate_up(routing.experts, h, 1, gate, up);
    silu_mul(gate, up, gate, ctx_);
    const auto y = ctx_.workspace.take<float>(count * sum.size());
    for (std::size_t i = 0; i < count; ++i) {
      down(routing.experts[i], gate.subspan(i * inner, inner), 1,
           y.subspan(i * sum.size(), sum.size()));
    }
    add_weighted(y, brought<float>(routing.weights), sum, ctx_);
  }

  /// Every expert of several rows.
  void each_expert(const Routing& routing, std::span<const float> h, std::span<float> sum) {
    const RowsByExpert by_expert(routing, experts());
    const WorkspaceScope scope(ctx_.workspace);
    const auto rows = brought<std::int32_t>(by_expert.rows);
    const auto weights = brought<float>(by_expert.weights);
    for (std::int64_t e = 0; e < experts(); ++e) {
      const std::size_t first = by_expert.first[static_cast<std::size_t>(e)];
      const std::size_t count = by_expert.first[static_cast<std::size_t>(e) + 1] - first;
      if (count == 0) continue;
      one_expert(static_cast<std::int32_t>(e), rows.subspan(first, count),
                 weights.subspan(first, count), h, sum);
    }
  }

 private:
  /// One expert of several rows.
  void one_expert(std::int32_t expert, std::span<const std::int32_t> uses,
                  std::span<const float> weights, std::span<const float> h, std::span<float> sum) {
    const WorkspaceScope scope(ctx_.workspace);
    const auto rows = static_cast<std::int64_t>(uses.size());
    const auto inner = static_cast<std::size_t>(w_.down->shape[2]);
    const auto x = ctx_.workspace.take<float>(uses.size() * static_cast<std::size_t>(width_));
    gather_rows(h, uses, x, ctx_);
    const auto gate = ctx_.workspace.take<float>(uses.size() * inner);
    const auto up = ctx_.workspace.take<float>(uses.size() * inner);
    gate_up({&expert, 1}, x, rows, gate, up);
    silu_mul(gate, up, gate, ctx_);
    down(expert, gate, rows, x);
    add_weighted_rows(x, uses, weights, sum, ctx_);
  }

  /// `values` as the device reads them.
  template <typename T>
  std::span<const T> brought(std::span<const T> values) {
    if (ctx_.queue == nullptr) return values;
    const auto there = ctx_.workspace.take<T>(values.size());
    runtime_.copy(device_, there.data(), Device{}, values.data(), values.size_bytes());
    return there;
  }

  /// gate and up [experts, rows, I] such that silu(gate) · up is what goes down.
  void gate_up(std::span<const std::int32_t> experts, std::span<const float> x, std::int64_t rows,
               std::span<float> gate, std::span<float> up) {
    if (w_.glu == ExpertWeights::Glu::kClamped) return clamped(experts, x, rows, gate, up);
    const std::size_t part = gate.size() / experts.size();
    std::vector<WeightView> matrices;
    std::vector<Projection> projections;
    matrices.reserve(2 * experts.size());
    const WeightView no_bias{};
    for (std::size_t i = 0; i < experts.size(); ++i) {
      for (const std::int64_t half : {0, 1}) {
        matrices.push_back(matrix_of(*w_.gate_up, 2 * experts[i] + half));
        projections.push_back(
            {&matrices.back(), &no_bias, (half == 0 ? gate : up).subspan(i * part, part)});
      }
    }
    project(projections, x, rows, device_, runtime_);
  }

  void clamped(std::span<const std::int32_t> experts, std::span<const float> x, std::int64_t rows,
               std::span<float> gate, std::span<float> up) {
    const WorkspaceScope scope(ctx_.workspace);
    const auto both = ctx_.workspace.take<float>(2 * gate.size());
    const std::size_t part = both.size() / experts.size();
    std::vector<WeightView> views;
    std::vector<Projection> projections;
    views.reserve(2 * experts.size());
    for (std::size_t i = 0; i < experts.size(); ++i) {
      views.push_back(matrix_of(*w_.gate_up, experts[i]));
      views.push_back(vector_of(w_.gate_up_bias, experts[i]));
      projections.push_back({&views[2 * i], &views[2 * i + 1], both.subspan(i * part, part)});
    }
    project(projections, x, rows, device_, runtime_);
    clamp_glu(both, w_.limit, w_.alpha, gate, up, ctx_);
  }

  void down(std::int32_t expert, std::span<const float> x, std::int64_t rows, std::span<float> y) {
    const WeightView matrix = matrix_of(*w_.down, expert);
    const WeightView bias = vector_of(w_.down_bias, expert);
    project({{&matrix, &bias, y}}, x, rows, device_, runtime_);
  }

  const ExpertWeights& w_;
  std::int64_t width_;
  Device device_;
  Runtime& runtime_;
  ExecContext& ctx_;
};

}  // namespace

void route(const RouterRule& rule, std::span<const float> logits, std::span<const float> correction,
           Routing& routing) {
  const auto experts = static_cast<std::size_t>(rule.experts);
  const auto chosen = static_cast<std::size_t>(routing.chosen);
  RowRouter router(rule);
  for (std::size_t row = 0; row * experts < logits.size(); ++row) {
    router.route(logits.subspan(row * experts, experts), correction,
                 std::span(routing.experts).subspan(row * chosen, chosen),
                 std::span(routing.weights).subspan(row * chosen, chosen));
  }
}

void add_experts(const ExpertWeights& w, const Routing& routing, std::span<const float> h,
                 std::int64_t rows, std::span<float> x, Device device, Runtime& runtime) {
  ExecContext& ctx = runtime.on(device);
  const WorkspaceScope scope(ctx.workspace);
  const auto sum = ctx.workspace.take<float>(x.size());
  fill_zero(sum, ctx);
  Experts experts(w, static_cast<std::int64_t>(x.size()) / rows, device, runtime);
  if (rows == 1) {
    experts.one_row(routing, h, sum);
  } else {
    experts.each_expert(routing, h, sum);
  }
  add(x, sum, ctx);
}

std::int64_t experts_workspace_floats(const RouterRule& rule, std::int64_t rows,
                                      std::int64_t hidden_size, std::int64_t intermediate_size) {
  const std::int64_t most = std::max(rows, rule.chosen);
  constexpr std::int64_t kAlignment = 8 * 16;  // what rounding up costs a handful of takes
  const std::int64_t router = rows * (rule.experts + 2 * rule.chosen);
  const std::int64_t mlp = most * (hidden_size + 4 * intermediate_size);
  const std::int64_t hop = most * (hidden_size + 2 * intermediate_size);
  return router + rows * hidden_size + mlp + hop + kAlignment;
}

}  // namespace shoehorn
