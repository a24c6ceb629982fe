// For the tests of kernels: contexts for each path this processor has, and reproducible numbers.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "kernels/decode_row.h"
#include "kernels/exec_context.h"
#include "quant/weight_form.h"

namespace shoehorn::kernel_test {

/// The paths that can run here, kRef first.
inline std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (int isa = 0; isa <= static_cast<int>(detect_isa()); ++isa) {
    found.push_back(static_cast<Isa>(isa));
  }
  return found;
}

/// A pool, a workspace and the context over them.
class Machine {
 public:
  explicit Machine(Isa isa, int threads = 2, std::size_t workspace_bytes = 32U << 20)
      : pool_(threads), workspace_(workspace_bytes), context_{pool_, isa, workspace_} {}
  ExecContext& context() { return context_; }

 private:
  ThreadPool pool_;
  Workspace workspace_;
  ExecContext context_;
};

inline std::vector<float> random_floats(std::int64_t count, unsigned seed, float scale = 1.0F) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

/// Bytes at a chosen distance from a 64-byte boundary.
class OddBytes {
 public:
  OddBytes(std::size_t bytes, std::size_t offset) : buffer_(bytes + offset + 1), offset_(offset) {}
  std::byte* data() { return buffer_.data() + offset_; }

 private:
  HostBuffer buffer_;
  std::size_t offset_;
};

/// A weight [rows, columns] of normal numbers stored as F32, F16 or BF16, off alignment.
class Weight {
 public:
  Weight(DType dtype, std::int64_t rows, std::int64_t columns, unsigned seed,
         std::size_t offset = 0)
      : bytes_(packed_bytes(dtype, rows * columns).value(), offset),
        view_({.dtype = dtype}, {rows, columns}, bytes_.data(), Device{}) {
    const auto values = random_floats(rows * columns, seed);
    encode_row(dtype, values.data(), rows * columns, bytes_.data());
  }
  const WeightView& view() const { return view_; }
  std::vector<float> values() const {
    std::vector<float> out(static_cast<std::size_t>(view_.shape.elements()));
    decode_row(view_.form.dtype, view_.data, view_.shape.elements(), out.data(), Isa::kRef);
    return out;
  }

 private:
  OddBytes bytes_;
  WeightView view_;
};

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

/// The largest |a - b|; infinity where sizes differ, or one is not a number and the other is.
inline double largest_difference(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - b[i]);
    if (std::isnan(difference) && !(std::isnan(a[i]) && std::isnan(b[i]))) return INFINITY;
    if (difference > largest) largest = difference;
  }
  return largest;
}

}  // namespace shoehorn::kernel_test
