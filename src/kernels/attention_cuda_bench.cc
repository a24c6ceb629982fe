// Attention on a card: prompts by FLOPs, of which the causal half counts; decode by the bytes of
// keys and values.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/attention_cuda.h"
#include "kernels/cuda_bench.h"

namespace shoehorn::cuda_bench {
namespace {

struct Shape {
  std::int64_t sequences;
  std::int64_t rows;   // of each
  std::int64_t start;  // of each
  std::int64_t heads = 32;
  std::int64_t kv_heads = 8;
  std::int64_t head_dim = 128;
  DType dtype = DType::kBF16;
  std::int64_t value_dim = 0;  // 0: head_dim
  bool sinks = false;

  std::int64_t value_width() const { return value_dim > 0 ? value_dim : head_dim; }
};

std::string name_of(const Shape& shape) {
  return std::string(shape.rows > 1 ? "prefill " : "decode ") +
         std::string(to_string(shape.dtype)) + " heads=" + std::to_string(shape.heads) + "/" +
         std::to_string(shape.kv_heads) + "x" + std::to_string(shape.head_dim) +
         (shape.value_dim > 0 ? " values=" + std::to_string(shape.value_dim) : "") +
         (shape.sinks ? " sinks" : "") + " sequences=" + std::to_string(shape.sequences) +
         " rows=" + std::to_string(shape.rows) + " start=" + std::to_string(shape.start);
}

void bench_shape(Bench& bench, const Shape& shape) {
  const std::string name = name_of(shape);
  if (!bench.wants(name)) return;
  const std::int64_t positions = shape.start + shape.rows;
  const std::int64_t rows = shape.sequences * shape.rows;
  const std::int64_t key_floats = shape.kv_heads * positions * shape.head_dim;
  const std::int64_t value_floats = shape.kv_heads * positions * shape.value_width();
  const std::size_t key_bytes = packed_bytes(shape.dtype, key_floats).value();
  const std::size_t value_bytes = packed_bytes(shape.dtype, value_floats).value();
  const auto count = static_cast<std::size_t>(shape.sequences);
  const std::size_t rounds = bench.rotation((key_bytes + value_bytes) * count);

  cuda::Queue& queue = bench.queue();
  const auto caches = static_cast<std::int64_t>(count * rounds);
  const auto random = [&](std::int64_t floats, unsigned seed) {
    return shape.dtype == DType::kF32 ? bench.random_floats(floats, seed)
                                      : bench.random_bf16(floats, seed);
  };
  const cuda::CardMemory keys = random(caches * key_floats, 1);
  const cuda::CardMemory values = random(caches * value_floats, 2);
  const cuda::CardMemory q = bench.random_floats(rows * shape.heads * shape.head_dim, 3);
  const cuda::CardMemory sinks = bench.random_floats(shape.heads, 4);
  const std::int64_t out_floats = rows * shape.heads * shape.value_width();
  const cuda::CardMemory out(queue.ordinal(), static_cast<std::size_t>(out_floats) * sizeof(float));
  std::vector<cuda::KvPlace> places;
  for (std::size_t i = 0; i < count * rounds; ++i) {
    places.push_back({.keys = keys.data() + i * key_bytes,
                      .values = values.data() + i * value_bytes,
                      .capacity = positions});
  }
  std::vector<cuda::SequenceRows> sequences;
  for (std::int64_t s = 0; s < shape.sequences; ++s) {
    sequences.push_back({.first_row = static_cast<std::int32_t>(s * shape.rows),
                         .rows = static_cast<std::int32_t>(shape.rows),
                         .start = static_cast<std::int32_t>(shape.start)});
  }
  const cuda::CardMemory card_places(queue.ordinal(), places.size() * sizeof(cuda::KvPlace));
  const cuda::CardMemory card_sequences(queue.ordinal(),
                                        sequences.size() * sizeof(cuda::SequenceRows));
  cuda::upload(queue, card_places.data(), places.data(), card_places.size());
  cuda::upload(queue, card_sequences.data(), sequences.data(), card_sequences.size());

  const std::int64_t widths = shape.head_dim + shape.value_width();
  const auto products = static_cast<double>(shape.sequences * shape.heads * widths) *
                        (static_cast<double>(shape.rows) * static_cast<double>(shape.start) +
                         0.5 * static_cast<double>(shape.rows) * static_cast<double>(shape.rows));
  Work work{.flops = 2 * products};
  if (shape.rows == 1) work.bytes = static_cast<double>((key_bytes + value_bytes) * count);
  bench.run(name, work, [&](std::size_t i) {
    const cuda::AttentionJob job{
        .q = reinterpret_cast<const float*>(q.data()),
        .out = reinterpret_cast<float*>(out.data()),
        .sequences = reinterpret_cast<const cuda::SequenceRows*>(card_sequences.data()),
        .places = reinterpret_cast<const cuda::KvPlace*>(card_places.data()) + i % rounds * count,
        .sequence_count = shape.sequences,
        .rows = rows,
        .most_rows = shape.rows,
        .most_positions = positions,
        .dtype = shape.dtype,
        .kv_heads = shape.kv_heads,
        .head_dim = shape.head_dim,
        .value_dim = shape.value_width(),
        .params = {.heads = shape.heads,
                   .scale = 1.0F / std::sqrt(static_cast<float>(shape.head_dim)),
                   .sinks = shape.sinks ? reinterpret_cast<const float*>(sinks.data()) : nullptr}};
    cuda::attention(job, bench.context());
  });
}

}  // namespace

void bench_attention(Bench& bench) {
  for (const std::int64_t rows : {512, 2048, 8192}) {
    bench_shape(bench, {.sequences = 1, .rows = rows, .start = 0});
  }
  bench_shape(bench, {.sequences = 1, .rows = 512, .start = 8192});
  bench_shape(bench, {.sequences = 1, .rows = 2048, .start = 0, .dtype = DType::kF16});
  bench_shape(bench, {.sequences = 1, .rows = 2048, .start = 0, .head_dim = 64});
  bench_shape(bench, {.sequences = 1, .rows = 2048, .start = 0, .head_dim = 80});
  bench_shape(bench, {.sequences = 1, .rows = 2048, .start = 0, .head_dim = 96});
  bench_shape(bench, {.sequences = 1, .rows = 2048, .start = 0, .heads = 16, .head_dim = 256});
  bench_shape(bench, {.sequences = 1,
                      .rows = 2048,
                      .start = 0,
                      .heads = 128,
                      .kv_heads = 128,
                      .head_dim = 192,
                      .value_dim = 128});
  bench_shape(bench, {.sequences = 1, .rows = 512, .start = 0, .dtype = DType::kF32});
  for (const std::int64_t sequences : {1, 8, 32}) {
    for (const std::int64_t positions : {512, 4096, 32768}) {
      if (sequences * positions > 400'000) continue;
      bench_shape(bench, {.sequences = sequences, .rows = 1, .start = positions - 1});
    }
  }
  bench_shape(bench, {.sequences = 8, .rows = 1, .start = 4095, .kv_heads = 32});
  bench_shape(bench, {.sequences = 8, .rows = 1, .start = 4095, .heads = 128});
  bench_shape(bench, {.sequences = 8, .rows = 1, .start = 4095, .heads = 64, .head_dim = 64});
  bench_shape(
      bench,
      {.sequences = 8, .rows = 1, .start = 4095, .heads = 64, .head_dim = 64, .sinks = true});
  bench_shape(bench, {.sequences = 8, .rows = 1, .start = 4095, .heads = 16, .head_dim = 256});
  bench_shape(bench, {.sequences = 8, .rows = 1, .start = 4095, .dtype = DType::kF32});
}

}  // namespace shoehorn::cuda_bench
