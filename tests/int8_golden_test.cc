// LLM.int8() linear layers as bitsandbytes' CPU code computed them in eval mode (lin8.* of
// tests/data/quant-golden.md): every recorded output through linear(), on every instruction set.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/host_buffer.h"
#include "base/str_cat.h"
#include "kernels/linear.h"
#include "quant_golden.h"

namespace shoehorn {
namespace {

using quant_golden::Golden;
using quant_golden::Recorded;
using quant_golden::rounded_to;

struct Layer {
  std::int64_t k;
  std::int64_t n;
  bool with_bias;

  std::string prefix() const { return str_cat("lin8.k", k, "n", n, "."); }
};
const std::vector<Layer> kLayers = {{128, 64, true}, {96, 40, false}, {130, 33, true}};

struct Case {
  Layer layer;
  std::string rows;   // m5, m1, b2s3
  std::string dtype;  // f32, f16, bf16
  int threshold;

  std::string x() const { return layer.prefix() + rows + "." + dtype + ".x"; }
  std::string y() const { return str_cat(layer.prefix(), rows, ".", dtype, ".t", threshold, ".y"); }
};

// All that are recorded; float32 inputs only as five rows.
std::vector<Case> cases(const std::set<std::string>& dtypes) {
  std::vector<Case> found;
  for (const Layer& layer : kLayers) {
    for (const std::string rows : {"m5", "m1", "b2s3"}) {
      for (const std::string& dtype : dtypes) {
        if (dtype == "f32" && rows != "m5") continue;
        for (const int threshold : {0, 6}) found.push_back({layer, rows, dtype, threshold});
      }
    }
  }
  return found;
}

std::vector<Isa> isas() {
  std::vector<Isa> found;
  for (int isa = 0; isa <= static_cast<int>(detect_isa()); ++isa) {
    found.push_back(static_cast<Isa>(isa));
  }
  return found;
}

std::vector<float> bias_of(const Case& c) {
  if (!c.layer.with_bias) return {};
  const Golden& golden = Golden::instance();
  return rounded_to(golden.at(c.x()).dtype, golden.at(c.layer.prefix() + "b").floats());
}

// The layer's CB and SCB as a weight in memory.
class RecordedWeight {
 public:
  explicit RecordedWeight(const Case& c)
      : n_(c.layer.n), k_(c.layer.k), bytes_(int8_layout(n_, k_).bytes) {
    const Golden& golden = Golden::instance();
    const auto codes = golden.at(c.layer.prefix() + "CB").bytes;
    scb_ = golden.at(c.layer.prefix() + "SCB").floats();
    std::memcpy(bytes_.data(), codes.data(), codes.size());
    std::memcpy(bytes_.data() + int8_layout(n_, k_).scb, scb_.data(), scb_.size() * sizeof(float));
  }
  std::int8_t* codes() { return reinterpret_cast<std::int8_t*>(bytes_.data()); }
  float scb(std::int64_t n) const { return scb_[static_cast<std::size_t>(n)]; }
  std::int64_t n() const { return n_; }
  std::int64_t k() const { return k_; }

  std::vector<float> multiply(const std::vector<float>& x, const Case& c, Isa isa,
                              bool bnb_cpu_constant) const {
    WeightView weight({.quant_type = QuantType::kInt8}, {n_, k_}, bytes_.data(), Device{});
    weight.compute.llm_int8_threshold = static_cast<float>(c.threshold);
    weight.compute.bnb_cpu_constant = bnb_cpu_constant;
    ThreadPool pool(2);
    Workspace workspace(std::size_t{16} << 20);
    ExecContext ctx{pool, isa, workspace};
    const auto rows = static_cast<std::int64_t>(x.size()) / k_;
    std::vector<float> y(static_cast<std::size_t>(rows * n_));
    linear(weight, bias_of(c), x, rows, y, ctx);
    return y;
  }

 private:
  std::int64_t n_;
  std::int64_t k_;
  HostBuffer bytes_;
  std::vector<float> scb_;
};

// What bitsandbytes computes in dtype D, of our sums in float32: the output of the integers is
// rounded to D, the outliers' weights too, and their sum once.
std::vector<float> multiply_in_16_bits(const Case& c, Isa isa) {
  const Recorded& input = Golden::instance().at(c.x());
  const DType dtype = input.dtype;
  const std::vector<float> x = input.floats();
  RecordedWeight weight(c);
  const RecordedWeight whole(c);
  const std::int64_t k = weight.k();
  const auto rows = static_cast<std::int64_t>(x.size()) / k;
  std::set<std::int64_t> columns;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float rounded = f16_to_f32(f32_to_f16(x[i]));
    if (c.threshold > 0 && std::fabs(rounded) >= static_cast<float>(c.threshold)) {
      columns.insert(static_cast<std::int64_t>(i) % k);
    }
  }
  // Without weights in the outliers' columns the integers are the same, and all there is.
  for (std::int64_t n = 0; n < weight.n(); ++n) {
    for (const std::int64_t column : columns) weight.codes()[n * k + column] = 0;
  }
  std::vector<float> y = rounded_to(dtype, weight.multiply(x, c, isa, /*bnb_cpu_constant=*/true));
  RecordedWeight decoded(c);
  for (std::int64_t m = 0; m < rows && !columns.empty(); ++m) {
    for (std::int64_t n = 0; n < weight.n(); ++n) {
      double sum = y[static_cast<std::size_t>(m * weight.n() + n)];
      for (const std::int64_t column : columns) {
        const float code = decoded.codes()[n * k + column];
        const float value = code * whole.scb(n) * 0.007874015718698502F;
        sum += static_cast<double>(x[static_cast<std::size_t>(m * k + column)]) *
               rounded_to(dtype, {value})[0];
      }
      y[static_cast<std::size_t>(m * weight.n() + n)] = static_cast<float>(sum);
    }
  }
  return rounded_to(dtype, y);
}

// Distance in representable numbers of the 16-bit dtype.
int steps_between(DType dtype, float a, float b) {
  const auto position = [&](float value) {
    const int bits = dtype == DType::kF16 ? f32_to_f16(value) : f32_to_bf16(value);
    return bits >= 0x8000 ? 0x8000 - bits : bits;
  };
  return std::abs(position(a) - position(b));
}

TEST(LinearInt8Golden, AllRecordedOutputsAreCompared) {
  std::set<std::string> expected;
  for (const Case& c : cases({"f32", "f16", "bf16"})) expected.insert(c.y());
  std::set<std::string> recorded;
  for (const std::string& name : Golden::instance().names("lin8.")) {
    if (name.ends_with(".y") && name.find(".train.") == std::string::npos) recorded.insert(name);
  }
  EXPECT_EQ(recorded, expected);
}

// Relative to the row's largest output: each is a sum in which larger ones may cancel.
void expect_close(const Case& c, const std::vector<float>& y, double relative) {
  const std::vector<float> expected = Golden::instance().at(c.y()).floats();
  ASSERT_EQ(y.size(), expected.size()) << c.y();
  const auto n = static_cast<std::size_t>(c.layer.n);
  for (std::size_t row = 0; row < expected.size(); row += n) {
    double largest = 0;
    for (std::size_t i = row; i < row + n; ++i) {
      largest = std::max(largest, std::fabs(static_cast<double>(expected[i])));
    }
    for (std::size_t i = row; i < row + n; ++i) {
      EXPECT_NEAR(y[i], expected[i], relative * largest) << c.y() << " " << i;
    }
  }
}

TEST(LinearInt8Golden, Float32WithTheirConstant) {
  for (const Isa isa : isas()) {
    for (const Case& c : cases({"f32"})) {
      SCOPED_TRACE(to_string(isa));
      const auto x = Golden::instance().at(c.x()).floats();
      expect_close(c, RecordedWeight(c).multiply(x, c, isa, /*bnb_cpu_constant=*/true), 1e-6);
    }
  }
}

TEST(LinearInt8Golden, Float32WithTheExactConstant) {
  for (const Isa isa : isas()) {
    for (const Case& c : cases({"f32"})) {
      SCOPED_TRACE(to_string(isa));
      const auto x = Golden::instance().at(c.x()).floats();
      // The constants differ by 1.83e-5 of their size.
      expect_close(c, RecordedWeight(c).multiply(x, c, isa, /*bnb_cpu_constant=*/false), 1.9e-5);
    }
  }
}

TEST(LinearInt8Golden, SixteenBitsWithinOneUnitInTheLastPlace) {
  for (const Isa isa : isas()) {
    for (const Case& c : cases({"f16", "bf16"})) {
      const Recorded& recorded = Golden::instance().at(c.y());
      const auto expected = recorded.floats();
      const auto y = multiply_in_16_bits(c, isa);
      ASSERT_EQ(y.size(), expected.size()) << c.y();
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_LE(steps_between(recorded.dtype, y[i], expected[i]), 1)
            << to_string(isa) << " " << c.y() << " " << i << ": " << y[i] << ", " << expected[i];
      }
    }
  }
}

}  // namespace
}  // namespace shoehorn
