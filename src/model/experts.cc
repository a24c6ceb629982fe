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

  std::int64_t count(std::int32_t expert) const {
    const auto e = static_cast<std::size_t>(expert);
    return static_cast<std::int64_t>(first[e + 1] - first[e]);
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

  /// Several experts of one row: their first matrices share what is done to it.
  void one_row(const Routing& routing, std::span<const float> h, std::span<float> sum) {
    const WorkspaceScope scope(ctx_.workspace);
    std::vector<ExpertRows> chosen;
    for (const std::int32_t expert : routing.experts) {
      chosen.push_back({expert, static_cast<std::int64_t>(chosen.size()), 1});
    }
    const auto inner = inner_of(chosen);
    const auto y = ctx_.workspace.take<float>(chosen.size() * sum.size());
    gate_up(chosen, h, Rows::kShared, inner);
    down(chosen, inner, y);
    add_weighted(y, brought<float>(routing.weights), sum, ctx_);
  }

  /// Every expert of several rows: as many experts at a time as have `rows` rows together, so that
  /// small products share a loop and the workspace is that of `rows` rows.
  void each_expert(const Routing& routing, std::span<const float> h, std::int64_t rows,
                   std::span<float> sum) {
    const RowsByExpert by_expert(routing, experts());
    const WorkspaceScope scope(ctx_.workspace);
    const Uses uses{brought<std::int32_t>(by_expert.rows), brought<float>(by_expert.weights)};
    std::vector<ExpertRows> together;
    std::int64_t first = 0;
    std::int64_t count = 0;
    for (std::int32_t e = 0; e < experts(); ++e) {
      const std::int64_t of_expert = by_expert.count(e);
      if (of_expert == 0) continue;
      if (count + of_expert > rows) {
        some_experts(together, uses.part(first, count), h, sum);
        together.clear();
        first += count;
        count = 0;
      }
      together.push_back({e, count, of_expert});
      count += of_expert;
    }
    some_experts(together, uses.part(first, count), h, sum);
  }

 private:
  /// An expert and its rows among those that are gathered.
  struct ExpertRows {
    std::int32_t expert;
    std::int64_t first;
    std::int64_t count;

    /// Their part of values [rows, width].
    template <typename T>
    std::span<T> of(std::span<T> values, std::int64_t width) const {
      return values.subspan(static_cast<std::size_t>(first * width),
                            static_cast<std::size_t>(count * width));
    }
  };

  /// Rows of h, expert after expert, and what the expert's output is multiplied by.
  struct Uses {
    std::span<const std::int32_t> rows;
    std::span<const float> weights;

    Uses part(std::int64_t first, std::int64_t count) const {
      const ExpertRows range{0, first, count};
      return {range.of(rows, 1), range.of(weights, 1)};
    }
  };

  enum class Rows : std::uint8_t {
    kOwn,     // each expert meets its own
    kShared,  // all meet the same one
  };

  std::int64_t inner_width() const { return w_.down->shape[2]; }

  /// [rows, I] of all experts.
  std::span<float> inner_of(std::span<const ExpertRows> experts) {
    const std::int64_t rows = experts.back().first + experts.back().count;
    return ctx_.workspace.take<float>(static_cast<std::size_t>(rows * inner_width()));
  }

  void some_experts(std::span<const ExpertRows> experts, const Uses& uses, std::span<const float> h,
                    std::span<float> sum) {
    const WorkspaceScope scope(ctx_.workspace);
    const auto x = ctx_.workspace.take<float>(uses.rows.size() * static_cast<std::size_t>(width_));
    gather_rows(h, uses.rows, x, ctx_);
    const auto inner = inner_of(experts);
    gate_up(experts, x, Rows::kOwn, inner);
    down(experts, inner, x);
    for (const ExpertRows& e : experts) {
      add_weighted_rows(e.of(x, width_), e.of(uses.rows, 1), e.of(uses.weights, 1), sum, ctx_);
    }
  }

  /// `values` as the device reads them.
  template <typename T>
  std::span<const T> brought(std::span<const T> values) {
    if (ctx_.queue == nullptr) return values;
    const auto there = ctx_.workspace.take<T>(values.size());
    runtime_.copy(device_, there.data(), Device{}, values.data(), values.size_bytes());
    return there;
  }

  /// inner [rows, I]: silu(gate) · up, or what gpt-oss has.
  void gate_up(std::span<const ExpertRows> experts, std::span<const float> x, Rows rows,
               std::span<float> inner) {
    const WorkspaceScope scope(ctx_.workspace);
    const bool is_clamped = w_.glu == ExpertWeights::Glu::kClamped;
    const auto up = ctx_.workspace.take<float>(inner.size());
    const auto both =
        is_clamped ? ctx_.workspace.take<float>(2 * inner.size()) : std::span<float>{};
    std::vector<WeightView> views;  // of all matrices and biases, which projections point to
    views.reserve(4 * experts.size());
    std::vector<ProjectionGroup> groups;
    for (const ExpertRows& e : experts) {
      if (groups.empty() || rows == Rows::kOwn) {
        const auto own = rows == Rows::kOwn ? e.of(x, width_) : x;
        groups.push_back({.projections = {}, .x = own, .rows = e.count});
      }
      auto& projections = groups.back().projections;
      const auto add = [&](std::int64_t matrix, const WeightView& bias, std::span<float> y) {
        const WeightView& weight = views.emplace_back(matrix_of(*w_.gate_up, matrix));
        projections.push_back({&weight, &views.emplace_back(bias), y});
      };
      if (is_clamped) {
        add(e.expert, vector_of(w_.gate_up_bias, e.expert), e.of(both, 2 * inner_width()));
      } else {
        add(2 * e.expert, {}, e.of(inner, inner_width()));
        add(2 * e.expert + 1, {}, e.of(up, inner_width()));
      }
    }
    project_groups(groups, device_, runtime_);
    if (is_clamped) clamp_glu(both, w_.limit, w_.alpha, inner, up, ctx_);
    silu_mul(inner, up, inner, ctx_);
  }

  /// y [rows, D] of inner [rows, I].
  void down(std::span<const ExpertRows> experts, std::span<const float> inner, std::span<float> y) {
    const WorkspaceScope scope(ctx_.workspace);
    std::vector<WeightView> views;
    views.reserve(2 * experts.size());
    std::vector<ProjectionGroup> groups;
    for (const ExpertRows& e : experts) {
      const WeightView& matrix = views.emplace_back(matrix_of(*w_.down, e.expert));
      const WeightView& bias = views.emplace_back(vector_of(w_.down_bias, e.expert));
      groups.push_back({.projections = {{&matrix, &bias, e.of(y, width_)}},
                        .x = e.of(inner, inner_width()),
                        .rows = e.count});
    }
    project_groups(groups, device_, runtime_);
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
    experts.each_expert(routing, h, rows, sum);
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
