// Row operations at the sizes of an 8 B Llama: a token, and a prompt of 2,048.
#include <cstdint>
#include <string>

#include "kernels/activation.h"
#include "kernels/add.h"
#include "kernels/cuda_bench.h"
#include "kernels/layer_norm.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/rows_cuda.h"
#include "kernels/sample_cuda.h"
#include "kernels/split_columns.h"

namespace shoehorn::cuda_bench {
namespace {

constexpr std::int64_t kHidden = 4096;
constexpr std::int64_t kHeadDim = 128;
constexpr std::int64_t kIntermediate = 14336;
constexpr std::int64_t kVocabulary = 128256;

// Arrays of `count` floats, one after another in one allocation.
class Rotating {
 public:
  Rotating(Bench& bench, std::int64_t count, unsigned seed)
      : count_(static_cast<std::size_t>(count)),
        arrays_(bench.rotation(count_ * sizeof(float))),
        memory_(bench.random_floats(count * static_cast<std::int64_t>(arrays_), seed)) {}

  std::span<float> at(std::size_t round) const {
    return {reinterpret_cast<float*>(memory_.data()) + round % arrays_ * count_, count_};
  }

 private:
  std::size_t count_;
  std::size_t arrays_;
  cuda::CardMemory memory_;
};

void bench_norm_and_activation(Bench& bench, std::int64_t rows) {
  const std::string suffix = " rows=" + std::to_string(rows);
  ExecContext& ctx = bench.context();
  if (bench.wants("rms_norm" + suffix)) {
    const Rotating x(bench, rows * kHidden, 1);
    const Rotating y(bench, rows * kHidden, 2);
    const Rotating weight(bench, kHidden, 3);
    bench.run("rms_norm" + suffix, {.bytes = 4.0 * static_cast<double>((2 * rows + 1) * kHidden)},
              [&](std::size_t i) { rms_norm(x.at(i), weight.at(0), 1e-5F, rows, y.at(i), ctx); });
  }
  if (bench.wants("layer_norm" + suffix)) {
    const Rotating x(bench, rows * kHidden, 1);
    const Rotating y(bench, rows * kHidden, 2);
    const Rotating weight(bench, kHidden, 3);
    bench.run("layer_norm" + suffix, {.bytes = 4.0 * static_cast<double>((2 * rows + 2) * kHidden)},
              [&](std::size_t i) {
                layer_norm(x.at(i), weight.at(0), weight.at(1), 1e-5F, rows, kHidden, y.at(i), ctx);
              });
  }
  if (bench.wants("rms_norm heads" + suffix)) {
    const Rotating x(bench, rows * kHidden, 1);
    const Rotating weight(bench, kHeadDim, 3);
    const std::int64_t heads = rows * kHidden / kHeadDim;
    bench.run("rms_norm heads" + suffix, {.bytes = 8.0 * static_cast<double>(rows * kHidden)},
              [&](std::size_t i) { rms_norm(x.at(i), weight.at(0), 1e-5F, heads, x.at(i), ctx); });
  }
  if (bench.wants("add" + suffix)) {
    const Rotating x(bench, rows * kHidden, 1);
    const Rotating y(bench, rows * kHidden, 2);
    bench.run("add" + suffix, {.bytes = 12.0 * static_cast<double>(rows * kHidden)},
              [&](std::size_t i) { add(x.at(i), y.at(i), ctx); });
  }
  if (bench.wants("silu_mul" + suffix)) {
    const Rotating gate(bench, rows * kIntermediate, 1);
    const Rotating up(bench, rows * kIntermediate, 2);
    bench.run("silu_mul" + suffix, {.bytes = 12.0 * static_cast<double>(rows * kIntermediate)},
              [&](std::size_t i) { silu_mul(gate.at(i), up.at(i), gate.at(i), ctx); });
  }
  if (bench.wants("gelu" + suffix)) {
    const Rotating x(bench, rows * kIntermediate, 1);
    bench.run("gelu" + suffix, {.bytes = 8.0 * static_cast<double>(rows * kIntermediate)},
              [&](std::size_t i) { activate(Activation::kGelu, x.at(i), x.at(i), ctx); });
  }
  if (bench.wants("split_columns" + suffix)) {
    const Rotating x(bench, rows * 2 * kIntermediate, 1);
    const Rotating gate(bench, rows * kIntermediate, 2);
    const Rotating up(bench, rows * kIntermediate, 3);
    bench.run("split_columns" + suffix, {.bytes = 16.0 * static_cast<double>(rows * kIntermediate)},
              [&](std::size_t i) {
                split_columns(x.at(i), rows, 1, {gate.at(i), up.at(i)}, ctx);
              });
  }
  if (bench.wants("rotary" + suffix)) {
    const RotaryShape shape{.rows = rows, .heads = 32, .head_dim = 128, .rotary_dim = 128};
    const Rotating x(bench, rows * kHidden, 1);
    const Rotating cos(bench, rows * 64, 2);
    const Rotating sin(bench, rows * 64, 3);
    bench.run(
        "rotary" + suffix, {.bytes = 8.0 * static_cast<double>(rows * (kHidden + 64))},
        [&](std::size_t i) { apply_rotary_halves(x.at(i), shape, cos.at(i), sin.at(i), ctx); });
  }
}

void bench_argmax(Bench& bench, std::int64_t rows) {
  const std::string name = "argmax rows=" + std::to_string(rows);
  if (!bench.wants(name)) return;
  const Rotating x(bench, rows * kVocabulary, 1);
  const cuda::CardMemory ids(bench.queue().ordinal(), static_cast<std::size_t>(rows) * 4);
  bench.run(name, {.bytes = 4.0 * static_cast<double>(rows * kVocabulary)}, [&](std::size_t i) {
    cuda::argmax(x.at(i).data(), rows, kVocabulary, reinterpret_cast<std::int32_t*>(ids.data()),
                 bench.context());
  });
}

void bench_top_k(Bench& bench, std::int64_t rows, std::int64_t k) {
  const std::string name = "top_k k=" + std::to_string(k) + " rows=" + std::to_string(rows);
  if (!bench.wants(name)) return;
  const Rotating x(bench, rows * kVocabulary, 1);
  const auto count = static_cast<std::size_t>(rows * k);
  const cuda::CardMemory ids(bench.queue().ordinal(), count * sizeof(std::int32_t));
  const cuda::CardMemory values(bench.queue().ordinal(), count * sizeof(float));
  bench.run(name, {.bytes = 4.0 * static_cast<double>(rows * kVocabulary)}, [&](std::size_t i) {
    cuda::top_k(x.at(i).data(), rows, kVocabulary, k, reinterpret_cast<float*>(values.data()),
                reinterpret_cast<std::int32_t*>(ids.data()), bench.context());
  });
}

}  // namespace

void bench_rows(Bench& bench) {
  for (const std::int64_t rows : {1, 2048}) bench_norm_and_activation(bench, rows);
  for (const std::int64_t rows : {1, 32}) bench_argmax(bench, rows);
  for (const std::int64_t rows : {1, 32}) bench_top_k(bench, rows, 64);
  bench_top_k(bench, 1, cuda::kMostTopK);
}

}  // namespace shoehorn::cuda_bench
