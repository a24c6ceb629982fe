#include "api/product_times.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/checksum.h"
#include "base/memory_status.h"
#include "kernels/attention_probe.h"
#include "kernels/decode_row.h"
#include "kernels/linear.h"
#include "kernels/product_probe.h"

namespace shoehorn {
namespace {

// Loops that a layer runs in parallel beside its products: norms, rotation, cache, attention,
// activation.
constexpr double kLoopsOfLayer = 8;

// Without that much for measuring, rates of a usual machine have to do.
constexpr std::size_t kLeastRoom = std::size_t{4} << 20;
constexpr std::size_t kMostCacheBytes = std::size_t{16} << 20;

/// Rows of the longest prompt whose products find room for what they need beside the weights.
std::int64_t rows_within(const OpenedModel& opened, const RunShape& shape, std::int64_t rows,
                         std::size_t room) {
  const DecoderShape& decoder = opened.architecture->shape();
  const auto bytes_of = [&](std::int64_t n) {
    const auto floats = static_cast<std::size_t>(n * (decoder.widest_input + 64));
    return linear_workspace_bytes(n, decoder.widest_input, shape.threads) + floats * sizeof(float);
  };
  while (rows > 1 && bytes_of(rows) > room) rows /= 2;
  return rows;
}

/// Times of every layer; those of one shape are measured once.
std::vector<AttentionTimes> attention_times(const OpenedModel& opened, const RunShape& shape,
                                            std::int64_t prompt_rows, std::size_t room,
                                            const PlanInput& input, ThreadPool& pool) {
  const DecoderShape& decoder = opened.architecture->shape();
  using Key = std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t>;
  std::map<Key, AttentionTimes> known;
  std::vector<AttentionTimes> times;
  for (const LayerKvShape& layer : decoder.layers) {
    const auto [at, is_new] = known.try_emplace(
        Key{layer.num_key_value_heads, layer.head_dim, layer.value_dim, layer.sliding_window});
    if (is_new) {
      const AttentionShape one{.kv_dtype = shape.kv_dtype,
                               .heads = decoder.num_attention_heads,
                               .kv_heads = layer.num_key_value_heads,
                               .head_dim = layer.head_dim,
                               .value_dim = layer.value_dim,
                               .sliding_window = layer.sliding_window};
      const auto seconds = [&](std::int64_t start, std::int64_t queries) {
        return measure_attention_s(one, start, queries, std::min(kMostCacheBytes, room), pool,
                                   shape.isa);
      };
      at->second.pass_s = static_cast<double>(shape.max_batch) *
                          seconds(static_cast<std::int64_t>(input.predicted_position), 1);
      const auto prompt = static_cast<std::int64_t>(input.prefill_tokens);
      const std::int64_t middle = prompt / 2 - prompt_rows / 2;
      at->second.prompt_s = seconds(middle, prompt_rows) *
                            attended_pairs(0, prompt, layer.sliding_window) /
                            attended_pairs(middle, prompt_rows, layer.sliding_window);
    }
    times.push_back(at->second);
  }
  return times;
}

/// Bytes per second that one thread handles of what was streamed.
struct HandlingRates {
  double checksum = 0;  // of what is in the weight cache
  double widen = 0;     // what it makes of a stored type with fewer bytes
};

HandlingRates measure_handling(Isa isa) {
  constexpr std::int64_t kElements = std::int64_t{1} << 20;
  constexpr int kTimes = 5;
  std::vector<std::byte> stored(kElements * sizeof(std::uint16_t), std::byte{0x3c});
  std::vector<float> values(kElements);
  const auto fastest_s = [](const auto& work) {
    double least = 1;
    for (int i = 0; i < kTimes; ++i) {
      const auto start = std::chrono::steady_clock::now();
      work();
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      least = std::min(least, took.count());
    }
    return least;
  };
  const auto value_bytes = std::as_bytes(std::span(values));
  const auto bytes = static_cast<double>(value_bytes.size());
  volatile std::uint64_t sum = 0;
  HandlingRates rates;
  rates.widen = bytes / fastest_s([&] {
                  decode_row(DType::kBF16, stored.data(), kElements, values.data(), isa);
                });
  rates.checksum = bytes / fastest_s([&] { sum = checksum(value_bytes); });
  return rates;
}

/// Of a weight that is streamed in a form; what is stored quantized or in stacks counts nothing.
double handling_s(const ResolvedWeight& weight, const WeightForm& form,
                  const HandlingRates& rates) {
  if (weight.source == nullptr) return 0;
  const std::size_t bytes = resident_bytes(weight, form);
  if (form.is_quantized() || (weight.shape.rank() >= 2 && bytes < weight.source->bytes)) {
    return static_cast<double>(bytes) / rates.checksum;
  }
  return bytes > weight.source->bytes ? static_cast<double>(bytes) / rates.widen : 0;
}

}  // namespace

void measure_products(const OpenedModel& opened, const RunShape& shape, const TierForms& tiers,
                      PlanInput& input) {
  // A half of what is free: the rest is the system's and the program's own.
  const std::size_t room = memory_status().free_bytes / 2;
  if (room < kLeastRoom) return;
  std::size_t model_bytes = 0;
  for (const WeightCost& cost : input.weights) {
    if (!cost.rows_only) model_bytes += cost.resident_bytes;
  }
  std::map<std::string, const ResolvedWeight*> by_path;
  for (const ResolvedWeight& weight : opened.resolved.weights) by_path[weight.path] = &weight;
  ThreadPool pool(shape.threads);
  const auto prompt_rows = rows_within(
      opened, shape,
      std::min<std::int64_t>(shape.max_rows, static_cast<std::int64_t>(
                                                 std::max<std::size_t>(input.prefill_tokens, 1))),
      room / 2);
  const HandlingRates handling = measure_handling(shape.isa);
  ProductProbe probe(pool, shape.isa, shape.max_batch, prompt_rows,
                     std::min(model_bytes, room / 2));
  for (WeightCost& cost : input.weights) {
    if (cost.flops_per_token == 0) continue;
    const ResolvedWeight& weight = *by_path.at(cost.path);
    const auto on_disk = cost.tiers.contains(DeviceKey::disk())
                             ? tiers.form_of(weight, DeviceKey::disk())
                             : weight.form;
    cost.handling_s = handling_s(weight, on_disk, handling);
    if (weight.shape.rank() != 2) continue;  // experts: the rates say it
    const auto times = [&](const WeightForm& form) {
      const auto measured = probe.measure(form, opened.compute_of(form.quant_type), weight.shape);
      return ProductTimes{.pass_s = measured.pass_s, .row_s = measured.row_s};
    };
    cost.times = times(weight.form);
    for (auto& [device, tier] : cost.tiers) tier.times = times(tiers.form_of(weight, device));
  }
  input.threads = shape.threads;
  input.attention_times = attention_times(opened, shape, prompt_rows, room / 2, input, pool);
  input.sync_s_per_layer = kLoopsOfLayer * probe.measure_loop_s();
}

}  // namespace shoehorn
