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

}  // namespace
}  // namespace shoehorn
