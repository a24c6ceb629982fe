#include "kernels/activation.h"

#include <cmath>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::isas;
using kernel_test::Machine;
using kernel_test::random_floats;

// Four units in the last place, and the smallest magnitudes that matter.
constexpr double kRelative = 4 * 6e-8;
constexpr double kAbsolute = 1e-35;

void expect_like_ref(const std::vector<float>& gate, const std::vector<float>& up) {
  std::vector<float> expected(gate.size());
  Machine ref(Isa::kRef);
  silu_mul(gate, up, expected, ref.context());
  for (const Isa isa : isas()) {
    Machine machine(isa);
    std::vector<float> out(gate.size());
    silu_mul(gate, up, out, machine.context());
    for (std::size_t i = 0; i < out.size(); ++i) {
      EXPECT_NEAR(out[i], expected[i], kRelative * std::fabs(expected[i]) + kAbsolute)
          << to_string(isa) << " silu(" << gate[i] << ") * " << up[i];
    }
  }
}

TEST(SiluMul, EveryLengthAgreesWithRef) {
  for (std::int64_t size = 0; size <= 70; ++size) {
    expect_like_ref(random_floats(size, 1, 3.0F), random_floats(size, 2));
  }
}

TEST(SiluMul, LargeAndSmallGatesAgreeWithRef) {
  std::vector<float> gate;
  for (float z = -130; z <= 130; z += 0.0371F) gate.push_back(z);
  for (const float z : {-1e30F, -200.0F, -88.8F, -1e-30F, 0.0F, 1e-30F, 200.0F, 1e30F}) {
    gate.push_back(z);
  }
  expect_like_ref(gate, std::vector<float>(gate.size(), 1.0F));
}

TEST(SiluMul, ManyValuesAreSharedByThreads) {
  expect_like_ref(random_floats(100'003, 1, 3.0F), random_floats(100'003, 2));
}

TEST(SiluMul, NanPasses) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    const std::vector<float> gate(20, NAN);
    const std::vector<float> up(20, 1.0F);
    std::vector<float> out(20);
    silu_mul(gate, up, out, machine.context());
    for (const float value : out) EXPECT_TRUE(std::isnan(value)) << to_string(isa);
  }
}

TEST(SiluMul, OutMayBeAnInput) {
  for (const Isa isa : isas()) {
    Machine machine(isa);
    auto gate = random_floats(37, 1);
    auto up = random_floats(37, 2);
    std::vector<float> apart(37);
    silu_mul(gate, up, apart, machine.context());
    auto gate_as_out = gate;
    silu_mul(gate_as_out, up, gate_as_out, machine.context());
    EXPECT_EQ(gate_as_out, apart) << to_string(isa);
    silu_mul(gate, up, up, machine.context());
    EXPECT_EQ(up, apart) << to_string(isa);
  }
}

TEST(SiluMul, RefusesLengthsThatDiffer) {
  Machine machine(Isa::kRef);
  const std::vector<float> gate(3);
  const std::vector<float> up(4);
  std::vector<float> out(3);
  EXPECT_THROW(silu_mul(gate, up, out, machine.context()), ArgumentError);
}

// ---- every activation, with and without a gate ----

constexpr Activation kAll[] = {Activation::kSilu,      Activation::kGelu, Activation::kGeluTanh,
                               Activation::kQuickGelu, Activation::kRelu, Activation::kRelu2};

std::vector<float> many_values() {
  std::vector<float> values;
  for (float z = -30; z <= 30; z += 0.0137F) values.push_back(z);
  for (const float z : {-1e10F, -200.0F, -88.8F, -1e-30F, 0.0F, 1e-30F, 200.0F, 1e10F}) {
    values.push_back(z);
  }
  return values;
}

TEST(Activate, IsTheFormulaInDoublePrecision) {
  const auto x = many_values();
  Machine machine(Isa::kRef);
  std::vector<float> out(x.size());
  const auto at = [&](Activation activation, float z) {
    activate(activation, {&z, 1}, {out.data(), 1}, machine.context());
    return out[0];
  };
  // torch.nn.functional's values.
  EXPECT_FLOAT_EQ(at(Activation::kGelu, 1.5F), 1.3997892F);
  EXPECT_FLOAT_EQ(at(Activation::kGeluTanh, 1.5F), 1.3995715F);
  EXPECT_FLOAT_EQ(at(Activation::kGelu, -2.0F), -0.04550026F);
  EXPECT_FLOAT_EQ(at(Activation::kSilu, 1.5F), 1.2263617F);
  EXPECT_FLOAT_EQ(at(Activation::kQuickGelu, 1.0F), 0.84579575F);
  EXPECT_FLOAT_EQ(at(Activation::kRelu, -1.0F), 0.0F);
  EXPECT_FLOAT_EQ(at(Activation::kRelu2, 3.0F), 9.0F);
}

TEST(Activate, EveryPathAgreesWithRef) {
  const auto x = many_values();
  for (const Activation activation : kAll) {
    Machine ref(Isa::kRef);
    std::vector<float> expected(x.size());
    activate(activation, x, expected, ref.context());
    for (const Isa isa : isas()) {
      Machine machine(isa);
      std::vector<float> out(x.size());
      activate(activation, x, out, machine.context());
      for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_NEAR(out[i], expected[i], 1e-6 * std::fabs(x[i]) + 2e-7 * std::fabs(expected[i]))
            << to_string(isa) << " " << static_cast<int>(activation) << " of " << x[i];
      }
    }
  }
}

TEST(GateMul, IsTheActivationTimesUpAtEveryLength) {
  for (const Activation activation : kAll) {
    for (std::int64_t size = 0; size <= 40; ++size) {
      const auto gate = random_floats(size, 1, 3.0F);
      const auto up = random_floats(size, 2);
      for (const Isa isa : isas()) {
        Machine machine(isa);
        std::vector<float> expected(gate.size());
        std::vector<float> out(gate.size());
        activate(activation, gate, expected, machine.context());
        gate_mul(activation, gate, up, out, machine.context());
        for (std::size_t i = 0; i < out.size(); ++i) {
          EXPECT_NEAR(out[i], expected[i] * up[i], 1e-6 * std::fabs(expected[i] * up[i]))
              << to_string(isa);
        }
      }
    }
  }
}

TEST(Activate, NanPassesEveryOne) {
  const std::vector<float> x(20, NAN);
  for (const Activation activation : kAll) {
    for (const Isa isa : isas()) {
      Machine machine(isa);
      std::vector<float> out(20);
      activate(activation, x, out, machine.context());
      for (const float value : out) {
        EXPECT_TRUE(std::isnan(value)) << to_string(isa) << static_cast<int>(activation);
      }
    }
  }
}

TEST(FindActivation, KnowsTheNamesOfTransformersAlone) {
  EXPECT_EQ(find_activation("gelu_new"), Activation::kGeluTanh);
  EXPECT_EQ(find_activation("gelu"), Activation::kGelu);
  EXPECT_EQ(find_activation("swish"), Activation::kSilu);
  EXPECT_EQ(find_activation("gelu_"), std::nullopt);
  EXPECT_EQ(find_activation(""), std::nullopt);
}

}  // namespace
}  // namespace shoehorn
