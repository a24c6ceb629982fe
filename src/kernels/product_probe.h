// How long the CPU takes to multiply weights, measured on made-up weights of the same form and
// shape: what predictions are made from. A probe of memory or arithmetic alone says what would be
// possible; kernels reach different shares of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/host_buffer.h"
#include "kernels/exec_context.h"
#include "quant/weight_form.h"

namespace shoehorn {

class ProductProbe {
 public:
  struct Times {
    double pass_s = 0;  // a product with `pass_rows` rows
    double row_s = 0;   // a row of a product with `prompt_rows` rows
  };

  /// `model_bytes`: of all weights that a pass reads; what fits the processor's caches in reality
  /// does so here. `pool` outlives the probe. Throws DeviceError where there is no room for its 64
  /// MiB.
  ProductProbe(ThreadPool& pool, Isa isa, std::int64_t pass_rows, std::int64_t prompt_rows,
               std::size_t model_bytes);

  /// Of a weight [N, K] that lies in memory; each form and shape is measured once, in some
  /// milliseconds. Zeros for what is not a matrix.
  Times measure(const WeightForm& form, const WeightCompute& compute, const Shape& shape);

  /// Seconds in which the pool's threads are woken and waited for: what a parallel loop costs
  /// beside its work.
  double measure_loop_s();

 private:
  double product_s(const WeightForm& form, const WeightCompute& compute, std::int64_t n,
                   std::int64_t k, std::int64_t rows, double least_s);

  struct Key {
    QuantType quant_type;
    DType dtype;
    bool nested;
    ComputeDtype compute;
    std::int64_t n;
    std::int64_t k;
    friend auto operator<=>(const Key&, const Key&) = default;
  };

  ThreadPool& pool_;
  Isa isa_;
  std::int64_t pass_rows_;
  std::int64_t prompt_rows_;
  HostBuffer weights_;
  std::size_t next_ = 0;  // of the bytes that no product has read for longest
  std::map<Key, Times> known_;
};

}  // namespace shoehorn
