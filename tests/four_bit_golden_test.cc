// Linear4bit layers as bitsandbytes' CPU code computed them by decoding the weight and multiplying
// (lin4.* of tests/data/quant-golden.md): every recorded output through linear(), on every
// instruction set, for the five recorded rows and for as many as take the blocked product.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/host_buffer.h"
#include "base/str_cat.h"
#include "kernels/decode_weight.h"
#include "kernels/linear.h"
#include "quant/quant_state.h"
#include "quant_golden.h"

namespace shoehorn {
namespace {

using quant_golden::Golden;
using quant_golden::Recorded;
using quant_golden::rounded_to;
using quant_golden::same_numbers;

const std::vector<std::string> kLayers = {"nf4_dq", "fp4"};
const std::vector<std::string> kDtypes = {"f32", "f16", "bf16"};

std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (int isa = 0; isa <= static_cast<int>(detect_isa()); ++isa) {
    found.push_back(static_cast<Isa>(isa));
  }
  return found;
}

const Recorded& recorded(const std::string& layer, const std::string& name) {
  return Golden::instance().at("lin4." + layer + "." + name);
}

// The layer's state dict as a weight in memory.
class RecordedWeight {
 public:
  explicit RecordedWeight(const std::string& layer) {
    const std::string name = "state.weight";
    const auto json = recorded(layer, name + ".quant_state.bitsandbytes__" + layer.substr(0, 3));
    const QuantState state = parse_quant_state(
        {reinterpret_cast<const char*>(json.bytes.data()), json.bytes.size()}, layer);
    form_ = {.quant_type = state.quant_type,
             .dtype = state.dtype,
             .blocksize = state.blocksize,
             .nested = state.nested.has_value()};
    shape_ = state.shape;
    const FourBitLayout layout = four_bit_layout(form_, shape_.elements());
    bytes_ = HostBuffer(layout.bytes);
    put(0, recorded(layer, name));
    put(layout.absmax, recorded(layer, name + ".absmax"));
    put(layout.quant_map, recorded(layer, name + ".quant_map"));
    if (!state.nested) return;
    put(layout.nested_absmax, recorded(layer, name + ".nested_absmax"));
    put(layout.nested_quant_map, recorded(layer, name + ".nested_quant_map"));
    const auto offset = static_cast<float>(state.nested->offset);
    std::memcpy(bytes_.data() + layout.nested_offset, &offset, sizeof(offset));
  }

  WeightView view(ComputeDtype dtype) const {
    WeightView weight(form_, shape_, bytes_.data(), Device{});
    weight.compute.dtype = dtype;
    return weight;
  }

 private:
  void put(std::size_t at, const Recorded& part) {
    std::memcpy(bytes_.data() + at, part.bytes.data(), part.bytes.size());
  }

  WeightForm form_;
  Shape shape_;
  HostBuffer bytes_{0};
};

ComputeDtype compute_dtype(const std::string& name) {
  return name == "f16"    ? ComputeDtype::kF16
         : name == "bf16" ? ComputeDtype::kBF16
                          : ComputeDtype::kF32;
}

template <typename T>
std::vector<T> repeated(const std::vector<T>& values, int times) {
  std::vector<T> all;
  for (int i = 0; i < times; ++i) all.insert(all.end(), values.begin(), values.end());
  return all;
}

// y for the recorded rows, `times` times below each other, as float32.
std::vector<float> multiply(const std::string& layer, const std::string& dtype,
                            ComputeDtype compute, int times, Isa isa) {
  const RecordedWeight weight(layer);
  const WeightView view = weight.view(compute);
  const DType stored = recorded(layer, dtype + ".x").dtype;
  const auto x = repeated(recorded(layer, dtype + ".x").floats(), times);
  const auto bias = rounded_to(stored, recorded(layer, "state.bias").floats());
  ThreadPool pool(2);
  Workspace workspace(std::size_t{16} << 20);
  ExecContext ctx{pool, isa, workspace};
  const auto rows = static_cast<std::int64_t>(x.size()) / view.shape[1];
  std::vector<float> y(static_cast<std::size_t>(rows * view.shape[0]));
  linear(view, bias, x, rows, y, ctx);
  return y;
}

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float value : values) most = std::max<double>(most, std::fabs(value));
  return most;
}

// float32: 1e-5 of the largest value; 16 bits: two units in the last place of it.
double tolerance(const std::string& dtype, const std::vector<float>& expected) {
  const double most = largest(expected);
  if (dtype == "f32") return 1e-5 * most;
  return 2 * std::ldexp(1.0, std::ilogb(most) - (dtype == "f16" ? 10 : 7));
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max(most, std::fabs(static_cast<double>(a[i]) - b[i]));
  }
  return most;
}

TEST(Linear4bit, WeightsAreDecodedToTheRecordedValues) {
  for (const std::string& layer : kLayers) {
    const RecordedWeight weight(layer);
    const WeightView view = weight.view(ComputeDtype::kF32);
    for (const Isa isa : isas()) {
      std::vector<float> values(static_cast<std::size_t>(view.shape.elements()));
      for (std::int64_t n = 0; n < view.shape[0]; ++n) {
        decode_columns(view, n, 0, view.shape[1], values.data() + n * view.shape[1], isa);
      }
      EXPECT_TRUE(same_numbers(values, recorded(layer, "deq").floats()))
          << layer << " " << to_string(isa);
    }
  }
}

TEST(Linear4bit, OutputsAreTheRecordedOnes) {
  for (const std::string& layer : kLayers) {
    for (const std::string& dtype : kDtypes) {
      for (const int times : {1, 4}) {
        const Recorded& y = recorded(layer, dtype + ".y");
        const auto expected = repeated(y.floats(), times);
        for (const Isa isa : isas()) {
          const auto found =
              rounded_to(y.dtype, multiply(layer, dtype, compute_dtype(dtype), times, isa));
          EXPECT_LE(largest_difference(found, expected), tolerance(dtype, expected))
              << layer << " " << dtype << " " << times << " " << to_string(isa);
        }
      }
    }
  }
}

TEST(Linear4bit, OutputsOfInt8ActivationsAreNearTheRecordedOnes) {
  for (const std::string& layer : kLayers) {
    for (const int times : {1, 4}) {
      const auto expected = repeated(recorded(layer, "f32.y").floats(), times);
      for (const Isa isa : isas()) {
        const auto found = multiply(layer, "f32", ComputeDtype::kInt8, times, isa);
        EXPECT_LE(largest_difference(found, expected), 0.02 * largest(expected))
            << layer << " " << times << " " << to_string(isa);
      }
    }
  }
}

TEST(Linear4bit, RecordedLayersAreTheKnownOnes) {
  std::size_t outputs = 0;
  for (const std::string& name : Golden::instance().names("lin4.")) {
    if (name.ends_with(".y")) ++outputs;
  }
  EXPECT_EQ(outputs, kLayers.size() * kDtypes.size());
}

}  // namespace
}  // namespace shoehorn
