// linear() at the sizes of an 8 B Llama: a token and a few of them, straight from stored weights;
// a batch and a prompt, by tensor cores.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cuda/memory.h"
#include "kernels/cuda_bench.h"
#include "kernels/linear.h"

namespace shoehorn::cuda_bench {
namespace {

struct Form {
  std::string name;
  WeightForm form;
  WeightCompute compute;
};

// Weights [n, k] of one form, one after another in one allocation.
class Weights {
 public:
  Weights(Bench& bench, const Form& form, std::int64_t n, std::int64_t k)
      : form_(form), shape_({n, k}), bytes_(form_bytes(form.form, shape_).value()) {
    bytes_ = (bytes_ + 255) / 256 * 256;
    count_ = bench.rotation(bytes_);
    memory_ = form.form.is_quantized() || form.form.dtype == DType::kF32
                  ? bench.random_bytes(bytes_ * count_)
                  : bench.random_bf16(static_cast<std::int64_t>(bytes_ * count_ / 2));
    if (!form.form.is_quantized()) return;
    // Scales of random bytes would be any floats.
    for (std::size_t i = 0; i < count_; ++i) put_scales(bench.queue(), i);
  }

  WeightView at(std::size_t round) const {
    WeightView view(form_.form, shape_, memory_.data() + round % count_ * bytes_, Device{});
    view.compute = form_.compute;
    return view;
  }
  double bytes() const { return static_cast<double>(form_bytes(form_.form, shape_).value()); }

 private:
  void put(const cuda::Queue& queue, std::size_t weight, std::size_t at, std::int64_t count) {
    const std::vector<float> values(static_cast<std::size_t>(count), 0.01F);
    cuda::upload(queue, memory_.data() + weight * bytes_ + at, values.data(),
                 values.size() * sizeof(float));
  }

  void put_scales(const cuda::Queue& queue, std::size_t weight) {
    if (form_.form.quant_type == QuantType::kInt8) {
      return put(queue, weight, int8_layout(shape_[0], shape_[1]).scb, shape_[0]);
    }
    const FourBitLayout layout = four_bit_layout(form_.form, shape_.elements());
    put(queue, weight, layout.quant_map, 16);
    if (form_.form.nested) {
      put(queue, weight, layout.nested_absmax, layout.nested_blocks);
      put(queue, weight, layout.nested_quant_map, 256);
      put(queue, weight, layout.nested_offset, 1);
    } else {
      put(queue, weight, layout.absmax, layout.blocks);
    }
  }

  Form form_;
  Shape shape_;
  std::size_t bytes_;
  std::size_t count_ = 0;
  cuda::CardMemory memory_;
};

std::vector<Form> forms() {
  const WeightForm nf4{.quant_type = QuantType::kNF4, .dtype = DType::kBF16};
  WeightForm nested = nf4;
  nested.nested = true;
  return {{"bf16", {.dtype = DType::kBF16}, {}},
          {"f32", {.dtype = DType::kF32}, {}},
          {"int8", {.quant_type = QuantType::kInt8, .dtype = DType::kBF16}, {}},
          {"nf4", nf4, {.dtype = ComputeDtype::kBF16}},
          {"nf4 nested", nested, {.dtype = ComputeDtype::kBF16}},
          {"nf4 float32", nf4, {.dtype = ComputeDtype::kF32}},
          {"nf4 int8", nf4, {.dtype = ComputeDtype::kInt8}},
          {"q4_k", {.dtype = DType::kQ4_K}, {.dtype = ComputeDtype::kBF16}}};
}

struct Sizes {
  std::string name;
  std::int64_t n;
  std::int64_t k;
};

// q, k and v as one, and the output; gate and up as one; down; the logits.
const std::vector<Sizes>& sizes() {
  static const std::vector<Sizes> all = {{"qkv", 6144, 4096},
                                         {"o", 4096, 4096},
                                         {"gate up", 28672, 4096},
                                         {"down", 4096, 14336},
                                         {"head", 128256, 4096}};
  return all;
}

void bench_case(Bench& bench, const Form& form, const Sizes& size, std::int64_t rows) {
  const std::string name =
      "linear " + form.name + " " + size.name + " rows=" + std::to_string(rows);
  if (!bench.wants(name)) return;
  const Weights weights(bench, form, size.n, size.k);
  const cuda::CardMemory x = bench.random_floats(rows * size.k);
  const cuda::CardMemory y(bench.queue().ordinal(), static_cast<std::size_t>(rows * size.n) * 4);
  const std::span<const float> x_span(reinterpret_cast<const float*>(x.data()),
                                      static_cast<std::size_t>(rows * size.k));
  const std::span<float> y_span(reinterpret_cast<float*>(y.data()),
                                static_cast<std::size_t>(rows * size.n));
  const double values = static_cast<double>(rows) * static_cast<double>(size.n + size.k);
  const double flops =
      2.0 * static_cast<double>(rows) * static_cast<double>(size.n) * static_cast<double>(size.k);
  bench.run(
      name, {.bytes = weights.bytes() + 4 * values, .flops = rows > 8 ? flops : 0},
      [&](std::size_t i) { linear(weights.at(i), {}, x_span, rows, y_span, bench.context()); });
}

}  // namespace

void bench_linear(Bench& bench) {
  for (const Form& form : forms()) {
    for (const Sizes& size : sizes()) bench_case(bench, form, size, 1);
    for (const std::int64_t rows : {2, 4, 8, 16, 32, 64}) {
      bench_case(bench, form, sizes()[2], rows);
    }
    for (const Sizes& size : sizes()) {
      if (size.name != "head") bench_case(bench, form, size, 2048);
    }
  }
}

}  // namespace shoehorn::cuda_bench
