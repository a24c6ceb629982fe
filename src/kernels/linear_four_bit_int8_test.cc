#include "kernels/linear_four_bit_int8.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/decode_weight.h"
#include "kernels/kernel_test.h"
#include "kernels/linear.h"
#include "kernels/linear_four_bit_int8_paths.h"
#include "kernels/testing_four_bit.h"

namespace shoehorn {
namespace {

using kernel_test::FourBitWeight;
using kernel_test::isas;
using kernel_test::Machine;
using kernel_test::random_floats;
using kernel_test::same_bits;

struct Case {
  QuantType type = QuantType::kNF4;
  std::int64_t blocksize = 64;
  bool nested = false;
  std::int64_t rows = 1;
  std::int64_t outputs = 5;
  std::int64_t k = 128;
  std::size_t offset = 0;  // of the weight from a 64-byte boundary
};

std::string describe(const Case& c, Isa isa) {
  std::string text(to_string(isa));
  text += " " + std::string(to_string(c.type)) + (c.nested ? " nested" : "");
  for (const std::int64_t n : {c.blocksize, c.rows, c.outputs, c.k}) {
    text += " " + std::to_string(n);
  }
  return text;
}

FourBitWeight weight_of(const Case& c) {
  const WeightForm form{.quant_type = c.type, .blocksize = c.blocksize, .nested = c.nested};
  return {form, c.outputs, c.k, 1, c.offset};
}

// Numbers of very different sizes, so that runs have scales of their own.
std::vector<float> activations(const Case& c) {
  auto x = random_floats(c.rows * c.k, 2);
  for (std::size_t i = 0; i < x.size(); i += 37) x[i] *= 30;
  return x;
}

std::vector<float> run(const Case& c, Isa isa, int threads = 2) {
  Machine machine(isa, threads);
  const FourBitWeight weight = weight_of(c);
  const auto bias = random_floats(c.outputs, 3);
  std::vector<float> y(static_cast<std::size_t>(c.rows * c.outputs), -1e30F);
  linear(weight.view(ComputeDtype::kInt8), bias, activations(c), c.rows, y, machine.context());
  return y;
}

// Sums of runs are exact, so paths differ by the rounding of a float32 sum of K / 64 terms of
// about ten.
void expect_like_ref(const Case& c) {
  const auto expected = run(c, Isa::kRef);
  const double tolerance = 1e-5 + 2e-7 * static_cast<double>(c.k);
  for (const Isa isa : isas()) {
    EXPECT_LE(kernel_test::largest_difference(run(c, isa), expected), tolerance)
        << describe(c, isa);
  }
}

// The rule of the header in double precision, from the values that the weight stands for.
std::vector<float> model(const Case& c) {
  const FourBitWeight weight = weight_of(c);
  const FourBitParts parts = four_bit_parts(weight.view());
  const auto x = activations(c);
  const auto bias = random_floats(c.outputs, 3);
  const double factor = c.type == QuantType::kNF4 ? 124.115F : 120;
  std::vector<float> y;
  for (std::int64_t m = 0; m < c.rows; ++m) {
    for (std::int64_t n = 0; n < c.outputs; ++n) {
      double sum = bias[static_cast<std::size_t>(n)];
      for (std::int64_t run = 0; run < c.k; run += 64) {
        const float* const values = x.data() + m * c.k + run;
        double largest = 0;
        for (int i = 0; i < 64; ++i) largest = std::max<double>(largest, std::fabs(values[i]));
        double products = 0;
        for (int i = 0; i < 64; ++i) {
          const std::int64_t at = n * c.k + run + i;
          const int byte = parts.packed[at / 2];
          const double code = parts.quant_map[at % 2 == 0 ? byte >> 4 : byte & 15];
          const float scaled = values[i] * (127.0F / static_cast<float>(largest));
          products += std::nearbyint(code * factor) * std::nearbyint(scaled);
        }
        sum += products * parts.absmax_of((n * c.k + run) / c.blocksize) * largest / 127 / factor;
      }
      y.push_back(static_cast<float>(sum));
    }
  }
  return y;
}

TEST(LinearFourBitInt8, FollowsTheRule) {
  for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
    for (const bool nested : {false, true}) {
      for (const std::int64_t rows : {1, 20}) {
        const Case c{.type = type, .nested = nested, .rows = rows, .outputs = 9, .k = 576};
        for (const Isa isa : isas()) {
          EXPECT_LE(kernel_test::largest_difference(run(c, isa), model(c)), 1e-4)
              << describe(c, isa);
        }
      }
    }
  }
}

TEST(LinearFourBitInt8, IsNearTheFloatingProduct) {
  for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
    const Case c{.type = type, .rows = 3, .outputs = 50, .k = 1024};
    const FourBitWeight weight = weight_of(c);
    Machine machine(Isa::kRef);
    const auto x = random_floats(c.rows * c.k, 5);
    std::vector<float> y(static_cast<std::size_t>(c.rows * c.outputs));
    std::vector<float> exact(y.size());
    linear(weight.view(ComputeDtype::kInt8), {}, x, c.rows, y, machine.context());
    linear(weight.view(), {}, x, c.rows, exact, machine.context());
    double error = 0;
    double size = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      error += (y[i] - exact[i]) * (y[i] - exact[i]);
      size += exact[i] * exact[i];
    }
    // Steps of 1/127 of about 2.4 standard deviations: half a percent and a little for the codes.
    EXPECT_LT(std::sqrt(error / size), 0.01);
    EXPECT_GT(std::sqrt(error / size), 0.001);
  }
}

TEST(LinearFourBitInt8, EveryDepthAgreesWithRef) {
  for (const bool nested : {false, true}) {
    for (const std::int64_t k : {64, 128, 192, 320, 512, 576, 1088, 1536, 2048}) {
      for (const std::int64_t rows : {1, 20}) {
        expect_like_ref({.nested = nested, .rows = rows, .outputs = 9, .k = k});
      }
    }
  }
}

TEST(LinearFourBitInt8, EveryBlocksizeAgreesWithRef) {
  for (const bool nested : {false, true}) {
    for (const std::int64_t blocksize : {64, 128, 256, 512, 1024, 2048, 4096}) {
      for (const std::int64_t rows : {1, 3, 20}) {
        expect_like_ref({.blocksize = blocksize,
                         .nested = nested,
                         .rows = rows,
                         .outputs = 70,
                         .k = std::max<std::int64_t>(blocksize, 768)});
      }
    }
  }
}

TEST(LinearFourBitInt8, EveryNumberOfRowsAgreesWithRef) {
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 20, 32, 33, 100}) {
    expect_like_ref({.rows = rows, .outputs = 33, .k = 192});
  }
}

TEST(LinearFourBitInt8, EveryNumberOfOutputsAgreesWithRef) {
  for (const std::int64_t rows : {1, 3, 12, 20}) {
    for (std::int64_t outputs = 1; outputs <= 40; ++outputs) {
      expect_like_ref({.rows = rows, .outputs = outputs, .k = 128});
    }
  }
}

TEST(LinearFourBitInt8, RowsBeyondOneBlockAgreeWithRef) {
  expect_like_ref({.nested = true, .rows = 530, .outputs = 20, .k = 128});
}

TEST(LinearFourBitInt8, ManyOutputsAreSharedByThreads) {
  for (const std::int64_t rows : {1, 8, 16}) {
    expect_like_ref({.nested = true, .rows = rows, .outputs = 1500, .k = 320});
  }
}

TEST(LinearFourBitInt8, ResultDoesNotDependOnThreads) {
  for (const Isa isa : isas()) {
    for (const bool nested : {false, true}) {
      for (const std::int64_t rows : {1, 2, 3, 7, 40}) {
        const Case c{.nested = nested, .rows = rows, .outputs = 701, .k = 576};
        EXPECT_TRUE(same_bits(run(c, isa, 1), run(c, isa, 3))) << describe(c, isa);
      }
    }
  }
}

TEST(LinearFourBitInt8, ResultDoesNotDependOnAlignment) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 40}) {
      Case c{.nested = true, .rows = rows, .outputs = 100, .k = 192};
      const auto at_0 = run(c, isa);
      for (const std::size_t offset : {4U, 20U, 32U, 60U}) {
        c.offset = offset;
        EXPECT_TRUE(same_bits(run(c, isa), at_0)) << to_string(isa) << " " << offset;
      }
    }
  }
}

std::vector<float> run_on(const std::vector<float>& x, std::int64_t rows, Isa isa) {
  Machine machine(isa);
  const FourBitWeight weight({.quant_type = QuantType::kNF4}, 5, 192, 1);
  std::vector<float> y(static_cast<std::size_t>(rows * 5));
  linear(weight.view(ComputeDtype::kInt8), {}, x, rows, y, machine.context());
  return y;
}

TEST(LinearFourBitInt8, WhatIsNotFiniteMakesItsRowNan) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {2, 20}) {
      for (const float value : {NAN, -NAN, INFINITY, -INFINITY}) {
        auto x = random_floats(rows * 192, 2);
        x[192 + 100] = value;
        const auto y = run_on(x, rows, isa);
        for (std::size_t i = 0; i < y.size(); ++i) {
          EXPECT_EQ(std::isnan(y[i]), i / 5 == 1) << to_string(isa) << " " << rows << " " << i;
        }
      }
    }
  }
}

TEST(LinearFourBitInt8, ZerosAndTinyNumbersGiveZero) {
  for (const Isa isa : isas()) {
    for (const float value : {0.0F, -0.0F, 1e-37F, 1e-45F}) {
      for (const std::int64_t rows : {1, 20}) {
        const auto y =
            run_on(std::vector<float>(static_cast<std::size_t>(rows * 192), value), rows, isa);
        for (const float result : y) EXPECT_EQ(result, 0.0F) << to_string(isa);
      }
    }
  }
}

TEST(LinearFourBitInt8, LargeNumbersStayFinite) {
  for (const Isa isa : isas()) {
    const auto y = run_on(std::vector<float>(192, 1e33F), 1, isa);
    for (const float result : y) EXPECT_TRUE(std::isfinite(result)) << to_string(isa);
  }
}

TEST(LinearFourBitInt8, AccumulateAddsToWhatIsThere) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 30}) {
      Machine machine(isa);
      const FourBitWeight weight({.quant_type = QuantType::kNF4}, 21, 128, 1);
      const WeightView view = weight.view(ComputeDtype::kInt8);
      const auto x = random_floats(rows * 128, 2);
      const auto before = random_floats(rows * 21, 3);
      auto y = before;
      const LinearTask task{.weight = &view, .bias = {}, .y = y, .accumulate = true};
      linear_many({&task, 1}, x, rows, machine.context());
      std::vector<float> product(y.size());
      linear(view, {}, x, rows, product, machine.context());
      for (std::size_t i = 0; i < y.size(); ++i) {
        EXPECT_NEAR(y[i], before[i] + product[i], 2e-6) << to_string(isa) << " " << i;
      }
    }
  }
}

TEST(LinearFourBitInt8, AWeightAmongOthersGivesWhatItGivesAlone) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 30}) {
      Machine machine(isa);
      const auto x = random_floats(rows * 256, 2);
      std::vector<FourBitWeight> weights;
      std::vector<WeightView> views;
      std::vector<std::vector<float>> results;
      weights.reserve(6);
      for (unsigned i = 0; i < 6; ++i) {
        const QuantType type = i % 2 == 0 ? QuantType::kNF4 : QuantType::kFP4;
        weights.emplace_back(WeightForm{.quant_type = type, .nested = i % 3 == 0}, 1 + 50 * i, 256,
                             10 + i);
        views.push_back(weights.back().view(i == 4 ? ComputeDtype::kF32 : ComputeDtype::kInt8));
        results.emplace_back(static_cast<std::size_t>(rows * views.back().shape[0]));
      }
      std::vector<LinearTask> tasks;
      for (std::size_t i = 0; i < views.size(); ++i) {
        tasks.push_back({.weight = &views[i], .bias = {}, .y = results[i]});
      }
      linear_many(tasks, x, rows, machine.context());
      for (std::size_t i = 0; i < views.size(); ++i) {
        std::vector<float> alone(results[i].size());
        linear(views[i], {}, x, rows, alone, machine.context());
        EXPECT_TRUE(same_bits(results[i], alone)) << to_string(isa) << " " << rows << " " << i;
      }
    }
  }
}

TEST(LinearFourBitInt8, WorkspaceThatLinearNamesSuffices) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 8, 9, 65, 600}) {
      for (const std::int64_t k : {64, 192, 2048}) {
        Machine machine(isa, 3, linear_workspace_bytes(rows, k, 3));
        const FourBitWeight weight({.quant_type = QuantType::kNF4, .nested = true}, 20, k, 1);
        const auto x = random_floats(rows * k, 2);
        std::vector<float> y(static_cast<std::size_t>(rows * 20));
        EXPECT_NO_THROW(linear(weight.view(ComputeDtype::kInt8), {}, x, rows, y, machine.context()))
            << to_string(isa) << " " << rows << " " << k;
        EXPECT_EQ(machine.context().workspace.mark(), 0U);
      }
    }
  }
}

TEST(TakesInt8Rows, WantsWholeBlocksOfSixtyFourInARow) {
  const auto takes = [](std::int64_t blocksize, std::int64_t k, ComputeDtype dtype) {
    WeightView weight({.quant_type = QuantType::kNF4, .blocksize = blocksize}, {4, k}, nullptr,
                      Device{});
    weight.compute.dtype = dtype;
    return takes_int8_rows(weight);
  };
  EXPECT_TRUE(takes(64, 576, ComputeDtype::kInt8));
  EXPECT_TRUE(takes(4096, 8192, ComputeDtype::kInt8));
  EXPECT_FALSE(takes(64, 576, ComputeDtype::kF32));
  EXPECT_FALSE(takes(32, 64, ComputeDtype::kInt8));
  EXPECT_FALSE(takes(64, 96, ComputeDtype::kInt8));
  EXPECT_FALSE(takes(128, 576, ComputeDtype::kInt8));
}

TEST(TakesInt8Rows, RefusesATableBeyondOne) {
  const WeightForm form{.quant_type = QuantType::kNF4};
  const FourBitLayout layout = four_bit_layout(form, 64);
  std::vector<std::byte> bytes(layout.bytes);
  WeightView weight(form, {1, 64}, bytes.data(), Device{});
  weight.compute.dtype = ComputeDtype::kInt8;
  EXPECT_TRUE(takes_int8_rows(weight));
  const float large = 2;
  std::memcpy(bytes.data() + layout.quant_map, &large, sizeof(large));
  EXPECT_FALSE(takes_int8_rows(weight));
}

TEST(FourBitInt8Codes, Fp4IsExactButForTheSmallest) {
  const auto codes = four_bit_int8_codes(QuantType::kFP4, kernel_test::kFP4Codes);
  const std::vector<int> found(codes.codes, codes.codes + 16);
  EXPECT_EQ(found, (std::vector<int>{0, 1, 80, 120, 40, 60, 20, 30, 0, -1, -80, -120, -40, -60, -20,
                                     -30}));
}

TEST(FourBitInt8Codes, Nf4IsCloserThanAFactorOf127) {
  const auto codes = four_bit_int8_codes(QuantType::kNF4, kernel_test::kNF4Codes);
  double error = 0;
  double error_127 = 0;
  for (int i = 0; i < 16; ++i) {
    const double value = kernel_test::kNF4Codes[i];
    error += std::pow(codes.codes[i] * codes.unit - value, 2);
    error_127 += std::pow(std::nearbyint(value * 127) / 127 - value, 2);
  }
  EXPECT_LT(error, 0.8 * error_127);
}

TEST(FourBitInt8Codes, HostileTablesStayInRange) {
  const float table[16] = {NAN, INFINITY, -INFINITY, 1e30F, -1e30F, 2, -2};
  const auto codes = four_bit_int8_codes(QuantType::kNF4, table);
  for (int i = 0; i < 16; ++i) EXPECT_GE(codes.codes[i], -127);
}

}  // namespace
}  // namespace shoehorn
