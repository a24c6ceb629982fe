#include "kernels/linear.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/activation.h"
#include "kernels/kernel_test.h"

namespace shoehorn {
namespace {

using kernel_test::isas;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;
using kernel_test::Weight;

constexpr DType kStored[] = {DType::kF32, DType::kBF16, DType::kF16};

struct Case {
  DType dtype;
  std::int64_t rows;
  std::int64_t outputs;
  std::int64_t k;
  std::size_t offset = 0;  // of the weight from a 64-byte boundary
};

std::string describe(const Case& c, Isa isa) {
  std::string text(to_string(isa));
  text += " " + std::string(to_string(c.dtype));
  for (const std::int64_t n : {c.rows, c.outputs, c.k}) text += " " + std::to_string(n);
  return text;
}

std::vector<float> run(const Case& c, Isa isa, int threads = 2, bool with_bias = true) {
  Machine machine(isa, threads);
  const Weight weight(c.dtype, c.outputs, c.k, 1, c.offset);
  const auto x = random_floats(c.rows * c.k, 2);
  const auto bias = random_floats(with_bias ? c.outputs : 0, 3);
  std::vector<float> y(static_cast<std::size_t>(c.rows * c.outputs), -1e30F);
  linear(weight.view(), bias, x, c.rows, y, machine.context());
  return y;
}

// A float32 sum of k products of normal numbers: errors grow with the partial sums and their
// number. Correct kernels stay at half of this over the 100,000s of outputs tested; one lost or
// doubled product is about 1.
double tolerance(std::int64_t k) {
  return 1e-6 + 4e-7 * static_cast<double>(k);
}

void expect_like_ref(const Case& c) {
  const auto expected = run(c, Isa::kRef);
  for (const Isa isa : isas()) {
    EXPECT_LE(kernel_test::largest_difference(run(c, isa), expected), tolerance(c.k))
        << describe(c, isa);
  }
}

TEST(Linear, RefSumsProductsAndBias) {
  Machine machine(Isa::kRef);
  const std::vector<float> w = {1, 2, 3, 4, 5, 6};  // [2, 3]
  const TensorView weight{
      DType::kF32, {2, 3}, reinterpret_cast<const std::byte*>(w.data()), Device{}};
  const std::vector<float> bias = {100, 200};
  const std::vector<float> x = {1, 0, -1, 2, 2, 2};  // [2, 3]
  std::vector<float> y(4);
  linear(weight, bias, x, 2, y, machine.context());
  EXPECT_THAT(y, testing::ElementsAre(98, 198, 112, 230));
}

TEST(Linear, OneRowOfEveryLengthAgreesWithRef) {
  for (const DType dtype : kStored) {
    for (std::int64_t k = 0; k <= 100; ++k) expect_like_ref({dtype, 1, 6, k, 2});
  }
}

TEST(Linear, ManyRowsOfEveryLengthAgreeWithRef) {
  for (const DType dtype : kStored) {
    for (std::int64_t k = 0; k <= 40; ++k) expect_like_ref({dtype, 21, 17, k, 2});
  }
}

TEST(Linear, EveryNumberOfRowsAgreesWithRef) {
  for (const DType dtype : kStored) {
    for (std::int64_t rows = 0; rows <= 70; ++rows) expect_like_ref({dtype, rows, 13, 37});
  }
}

TEST(Linear, EveryNumberOfOutputsAgreesWithRef) {
  for (const std::int64_t rows : {1, 3, 20, 33}) {
    for (std::int64_t outputs = 0; outputs <= 40; ++outputs) {
      expect_like_ref({DType::kBF16, rows, outputs, 35});
    }
  }
}

TEST(Linear, DepthsBeyondOneBlockAgreeWithRef) {
  for (const std::int64_t rows : {1, 6, 40}) {
    for (const std::int64_t k : {255, 256, 257, 700, 2049}) {
      expect_like_ref({DType::kBF16, rows, 50, k});
    }
  }
}

TEST(Linear, RowsBeyondOneBlockAgreeWithRef) {
  for (const std::int64_t rows : {256, 257, 511, 512, 513, 1030}) {
    expect_like_ref({DType::kF32, rows, 100, 48});
  }
}

TEST(Linear, ManyOutputsAreSharedByThreads) {
  for (const std::int64_t rows : {1, 2, 8, 16}) expect_like_ref({DType::kF16, rows, 1500, 300});
}

// IQ4_XS has no kernel of its own: rows are decoded and then multiplied.
TEST(Linear, BlockTypesAreDecoded) {
  const std::int64_t outputs = 70;
  const std::int64_t k = 512;
  std::vector<std::byte> blocks(packed_bytes(DType::kIQ4_XS, outputs * k).value());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    // 136 bytes a block: the scale, 2^-4 in binary16, then what 256 values are made of.
    blocks[i] = static_cast<std::byte>(i % 136 == 0 ? 0 : i % 136 == 1 ? 0x2C : i * 37 % 251);
  }
  const TensorView weight{DType::kIQ4_XS, {outputs, k}, blocks.data(), Device{}};
  std::vector<float> values(static_cast<std::size_t>(outputs * k));
  decode_row(DType::kIQ4_XS, blocks.data(), outputs * k, values.data(), Isa::kRef);
  const TensorView decoded{
      DType::kF32, {outputs, k}, reinterpret_cast<const std::byte*>(values.data()), Device{}};
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 5, 30}) {
      Machine machine(isa);
      const auto x = random_floats(rows * k, 2);
      std::vector<float> y(static_cast<std::size_t>(rows * outputs));
      std::vector<float> expected(y.size());
      linear(weight, {}, x, rows, y, machine.context());
      linear(decoded, {}, x, rows, expected, machine.context());
      // One row of W at a time or four: the same order of sums.
      EXPECT_TRUE(same_bits(y, expected)) << to_string(isa) << " " << rows;
    }
  }
}

TEST(Linear, ResultDoesNotDependOnThreads) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 3, 7, 40, 300}) {
      const Case c{DType::kBF16, rows, 700, 515};
      EXPECT_TRUE(same_bits(run(c, isa, 1), run(c, isa, 3))) << describe(c, isa);
    }
  }
}

TEST(Linear, ResultDoesNotDependOnAlignment) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 40}) {
      const auto at_0 = run({DType::kBF16, rows, 100, 100, 0}, isa);
      for (const std::size_t offset : {1U, 2U, 6U, 32U, 63U}) {
        EXPECT_TRUE(same_bits(run({DType::kBF16, rows, 100, 100, offset}, isa), at_0))
            << to_string(isa) << " " << offset;
      }
    }
  }
}

TEST(Linear, WithoutBiasNothingIsAdded) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 20}) {
      const Case c{DType::kF32, rows, 9, 0};
      EXPECT_THAT(run(c, isa, 2, /*with_bias=*/false), testing::Each(0.0F)) << describe(c, isa);
    }
  }
}

TEST(Linear, NanOfOneRowStaysInItsRow) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {2, 20}) {
      Machine machine(isa);
      const Weight weight(DType::kBF16, 5, 33, 1);
      auto x = random_floats(rows * 33, 2);
      x[33 + 32] = NAN;
      std::vector<float> y(static_cast<std::size_t>(rows * 5));
      linear(weight.view(), {}, x, rows, y, machine.context());
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(std::isnan(y[i]), i / 5 == 1) << to_string(isa) << " " << i;
      }
    }
  }
}

TEST(Linear, WorkspaceThatItNamesSuffices) {
  for (const std::int64_t rows : {1, 9, 40, 600}) {
    Machine machine(detect_isa(), 3, linear_workspace_bytes(rows, 300, 3));
    const Weight weight(DType::kF32, 40, 300, 1);
    const auto x = random_floats(rows * 300, 2);
    std::vector<float> y(static_cast<std::size_t>(rows * 40));
    EXPECT_NO_THROW(linear(weight.view(), {}, x, rows, y, machine.context())) << rows;
    EXPECT_EQ(machine.context().workspace.mark(), 0U);
  }
}

TEST(LinearMany, EachResultIsWhatLinearGives) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 4, 30}) {
      Machine machine(isa);
      const std::int64_t k = 130;
      const auto x = random_floats(rows * k, 2);
      std::vector<Weight> weights;
      std::vector<std::vector<float>> biases;
      std::vector<std::vector<float>> results;
      for (int i = 0; i < 19; ++i) {  // more than one loop takes
        const std::int64_t outputs = 1 + 40 * (i % 5);
        weights.emplace_back(kStored[i % 3], outputs, k, 10U + static_cast<unsigned>(i));
        biases.push_back(random_floats(i % 2 == 0 ? outputs : 0, 5));
        results.emplace_back(static_cast<std::size_t>(rows * outputs));
      }
      std::vector<LinearTask> tasks;
      for (std::size_t i = 0; i < weights.size(); ++i) {
        tasks.push_back({.weight = &weights[i].view(), .bias = biases[i], .y = results[i]});
      }
      linear_many(tasks, x, rows, machine.context());
      for (std::size_t i = 0; i < weights.size(); ++i) {
        std::vector<float> alone(results[i].size());
        linear(weights[i].view(), biases[i], x, rows, alone, machine.context());
        EXPECT_TRUE(same_bits(results[i], alone)) << to_string(isa) << " " << rows << " " << i;
      }
    }
  }
}

// Groups of every kind that a loop takes or not, several times as many as one takes.
TEST(LinearGroups, EachResultIsWhatLinearManyGives) {
  const std::int64_t k = 300;
  for (const Isa isa : isas()) {
    std::vector<Weight> weights;
    std::vector<std::vector<float>> inputs;
    std::vector<std::vector<float>> results;
    std::vector<std::vector<float>> expected;
    std::vector<std::vector<LinearTask>> tasks;
    const auto rows_of = [](int g) { return std::int64_t{g} * 7 % 45 + (g == 5 ? 600 : 0); };
    const auto outputs_of = [](int g, int i) { return std::int64_t{1} + (g * 5 + i * 31) % 60; };
    constexpr int kGroups = 40;
    std::int64_t all_rows = 0;
    for (int g = 0; g < kGroups; ++g) {
      all_rows += rows_of(g);
      inputs.push_back(random_floats(rows_of(g) * k, 100U + static_cast<unsigned>(g)));
      for (int i = 0; i < 2; ++i) {
        weights.emplace_back(kStored[(g + i) % 3], outputs_of(g, i), k, static_cast<unsigned>(g));
        results.push_back(random_floats(rows_of(g) * outputs_of(g, i), 7));
        expected.push_back(results.back());
      }
    }
    const auto bias = random_floats(outputs_of(8, 1), 5);
    Machine machine(isa, 3, linear_workspace_bytes(all_rows, k, 3));
    std::vector<LinearGroup> groups;
    for (int g = 0; g < kGroups; ++g) {
      auto& of_group = tasks.emplace_back();
      for (int i = 0; i < 2; ++i) {
        const auto at = static_cast<std::size_t>(2 * g + i);
        LinearTask task{.weight = &weights[at].view(), .bias = {}, .y = expected[at]};
        if (g == 8 && i == 1) task.bias = bias;
        task.accumulate = g % 4 == 3;
        linear_many({&task, 1}, inputs[at / 2], rows_of(g), machine.context());
        task.y = results[at];
        of_group.push_back(task);
      }
    }
    for (int g = 0; g < kGroups; ++g) {
      groups.push_back(
          {tasks[static_cast<std::size_t>(g)], inputs[static_cast<std::size_t>(g)], rows_of(g)});
    }
    linear_groups(groups, machine.context());
    EXPECT_EQ(machine.context().workspace.mark(), 0U);
    for (std::size_t i = 0; i < results.size(); ++i) {
      EXPECT_TRUE(same_bits(results[i], expected[i])) << to_string(isa) << " " << i;
    }
  }
}

TEST(LinearGroups, NothingIsWrittenWhereAGroupIsWrong) {
  Machine machine(detect_isa());
  const Weight weight(DType::kF32, 3, 4, 1);
  const std::vector<float> x(5);
  std::vector<float> good(3);
  std::vector<float> y(3);
  const LinearTask first{.weight = &weight.view(), .bias = {}, .y = good};
  const LinearTask second{.weight = &weight.view(), .bias = {}, .y = y};
  const std::vector<LinearGroup> groups = {{{&first, 1}, std::span(x).first(4), 1},
                                           {{&second, 1}, x, 1}};
  good = {7, 7, 7};
  EXPECT_THROW(linear_groups(groups, machine.context()), ArgumentError);
  EXPECT_THAT(good, testing::Each(7.0F));
}

TEST(LinearGated, IsTheProductsAndTheirGateToTheBit) {
  for (const std::int64_t rows : {1, 3, 20}) {
    const std::int64_t n = 37;
    const std::int64_t k = 70;
    const Weight gate(DType::kBF16, n, k, 1);
    const Weight up(DType::kF32, n, k, 2);
    const auto x = random_floats(rows * k, 3);
    const auto bias = random_floats(n, 4);
    for (const Isa isa : isas()) {
      Machine machine(isa);
      std::vector<float> a(static_cast<std::size_t>(rows * n));
      std::vector<float> b(a.size());
      linear(gate.view(), bias, x, rows, a, machine.context());
      linear(up.view(), {}, x, rows, b, machine.context());
      gate_mul(Activation::kGelu, a, b, a, machine.context());
      std::vector<float> y(a.size());
      std::vector<float> scratch(a.size());
      linear_gated(Activation::kGelu, {&gate.view(), bias, y}, {&up.view(), {}, scratch}, x, rows,
                   machine.context());
      EXPECT_TRUE(same_bits(y, a)) << rows;
    }
  }
}

TEST(LinearGated, RefusesWhatIsNoPair) {
  Machine machine(Isa::kRef);
  const Weight gate(DType::kF32, 4, 8, 1);
  const Weight up(DType::kF32, 5, 8, 2);
  const auto x = random_floats(8, 3);
  std::vector<float> y(4);
  std::vector<float> scratch(5);
  const auto run = [&](const LinearTask& first, const LinearTask& second) {
    linear_gated(Activation::kSilu, first, second, x, 1, machine.context());
  };
  EXPECT_THROW(run({&gate.view(), {}, y}, {&up.view(), {}, scratch}), ArgumentError);
  const LinearTask plain{&gate.view(), {}, y};
  LinearTask adding = plain;
  adding.accumulate = true;
  EXPECT_THROW(run(adding, plain), ArgumentError);
}

TEST(LinearMany, AccumulateAddsToWhatIsThere) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 30}) {
      Machine machine(isa);
      const Weight weight(DType::kBF16, 21, 50, 1);
      const auto x = random_floats(rows * 50, 2);
      const auto before = random_floats(rows * 21, 3);
      auto y = before;
      const LinearTask task{.weight = &weight.view(), .bias = {}, .y = y, .accumulate = true};
      linear_many({&task, 1}, x, rows, machine.context());
      std::vector<float> product(y.size());
      linear(weight.view(), {}, x, rows, product, machine.context());
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_NEAR(y[i], before[i] + product[i], 2e-6) << to_string(isa) << " " << i;
      }
    }
  }
}

void expect_argument_error(const LinearTask& task, std::span<const float> x, std::int64_t rows,
                           const std::string& message) {
  Machine machine(Isa::kRef);
  try {
    linear_many({&task, 1}, x, rows, machine.context());
    FAIL() << "no error";
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(message));
  }
}

TEST(LinearMany, RefusesAWeightOfAnotherDepth) {
  const Weight weight(DType::kF32, 3, 4, 1);
  const std::vector<float> x(5);
  std::vector<float> y(3);
  expect_argument_error({.weight = &weight.view(), .bias = {}, .y = y}, x, 1,
                        "weight [3, 4] does not multiply rows of 5 values");
}

TEST(LinearMany, RefusesAnOutputOfTheWrongSize) {
  const Weight weight(DType::kF32, 3, 4, 1);
  const std::vector<float> x(8);
  std::vector<float> y(5);
  expect_argument_error({.weight = &weight.view(), .bias = {}, .y = y}, x, 2,
                        "y of 5 values for 2 rows of 3 outputs");
}

TEST(LinearMany, RefusesABiasOfTheWrongSize) {
  const Weight weight(DType::kF32, 3, 4, 1);
  const std::vector<float> x(4);
  const std::vector<float> bias(2);
  std::vector<float> y(3);
  expect_argument_error({.weight = &weight.view(), .bias = bias, .y = y}, x, 1,
                        "bias of 2 values for 3 outputs");
}

TEST(LinearMany, RefusesAWeightThatIsNotInMemory) {
  const WeightView weight({.dtype = DType::kF32}, {3, 4}, nullptr, Device{});
  const std::vector<float> x(4);
  std::vector<float> y(3);
  expect_argument_error({.weight = &weight, .bias = {}, .y = y}, x, 1, "not in memory");
}

TEST(LinearMany, RefusesWhatIsNoNumber) {
  for (const DType dtype : {DType::kI8, DType::kF8E8M0}) {
    for (const std::int64_t rows : {1, 20}) {
      Machine machine(detect_isa());
      const std::vector<std::byte> bytes(4);
      const WeightView weight({.dtype = dtype}, {1, 4}, bytes.data(), Device{});
      const std::vector<float> x(static_cast<std::size_t>(4 * rows));
      std::vector<float> y(static_cast<std::size_t>(rows));
      const LinearTask task{.weight = &weight, .bias = {}, .y = y};
      EXPECT_THROW(linear_many({&task, 1}, x, rows, machine.context()), UnsupportedError);
    }
  }
}

}  // namespace
}  // namespace shoehorn
