#include "kernels/linear_four_bit.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/decode_row.h"
#include "kernels/kernel_test.h"
#include "kernels/linear.h"
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
  ComputeDtype dtype = ComputeDtype::kF32;
  std::size_t offset = 0;  // of the weight from a 64-byte boundary
};

std::string describe(const Case& c, Isa isa) {
  std::string text(to_string(isa));
  text += " " + std::string(to_string(c.type)) + (c.nested ? " nested " : " ") +
          std::string(to_string(c.dtype));
  for (const std::int64_t n : {c.blocksize, c.rows, c.outputs, c.k}) {
    text += " " + std::to_string(n);
  }
  return text;
}

std::vector<float> run(const Case& c, Isa isa, int threads = 2, bool with_bias = true) {
  Machine machine(isa, threads);
  const WeightForm form{.quant_type = c.type, .blocksize = c.blocksize, .nested = c.nested};
  const FourBitWeight weight(form, c.outputs, c.k, 1, c.offset);
  const auto x = random_floats(c.rows * c.k, 2);
  const auto bias = random_floats(with_bias ? c.outputs : 0, 3);
  std::vector<float> y(static_cast<std::size_t>(c.rows * c.outputs), -1e30F);
  linear(weight.view(c.dtype), bias, x, c.rows, y, machine.context());
  return y;
}

// A float32 sum of k products of normal numbers with codes of at most 1: see linear_test.cc. One
// lost or doubled product is about 0.1.
double tolerance(std::int64_t k) {
  return 2e-6 + 2e-7 * static_cast<double>(k);
}

void expect_like_ref(const Case& c) {
  const auto expected = run(c, Isa::kRef);
  for (const Isa isa : isas()) {
    EXPECT_LE(kernel_test::largest_difference(run(c, isa), expected), tolerance(c.k))
        << describe(c, isa);
  }
}

void round_trip(DType stored, std::vector<float>& values) {
  const auto count = static_cast<std::int64_t>(values.size());
  std::vector<std::byte> bytes(packed_bytes(stored, count).value());
  encode_row(stored, values.data(), count, bytes.data());
  decode_row(stored, bytes.data(), count, values.data(), Isa::kRef);
}

constexpr std::int64_t kBlocksizes[] = {32, 64, 128, 256, 512, 1024, 2048, 4096};
constexpr QuantType kTypes[] = {QuantType::kNF4, QuantType::kFP4};

TEST(LinearFourBit, RefDecodesAndMultiplies) {
  Machine machine(Isa::kRef);
  const WeightForm form{.quant_type = QuantType::kNF4, .blocksize = 64};
  FourBitWeight weight(form, 1, 2, 1);
  weight.data()[0] = std::byte{0xF0};  // code 15 is +1, code 0 is -1
  const float absmax = 2;
  std::memcpy(weight.data() + weight.layout().absmax, &absmax, sizeof(absmax));
  const std::vector<float> x = {10, 1};
  std::vector<float> y(1);
  linear(weight.view(), {}, x, 1, y, machine.context());
  EXPECT_EQ(y[0], 18.0F);
}

TEST(LinearFourBit, EveryDepthAgreesWithRef) {
  for (const bool nested : {false, true}) {
    for (const std::int64_t k : {1, 2, 31, 32, 63, 64, 65, 96, 128, 192, 320, 576, 1536, 2048}) {
      for (const std::int64_t rows : {1, 20}) {
        expect_like_ref({.nested = nested, .rows = rows, .outputs = 9, .k = k});
      }
    }
  }
}

TEST(LinearFourBit, EveryBlocksizeAgreesWithRef) {
  for (const bool nested : {false, true}) {
    for (const std::int64_t blocksize : kBlocksizes) {
      for (const std::int64_t k : {192L, 4096L, 5 * 64L, 300L}) {
        for (const std::int64_t rows : {1, 3, 20}) {
          expect_like_ref(
              {.blocksize = blocksize, .nested = nested, .rows = rows, .outputs = 6, .k = k});
        }
      }
    }
  }
}

TEST(LinearFourBit, EveryNumberOfRowsAgreesWithRef) {
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 33, 100}) {
    for (const std::int64_t k : {192, 100}) expect_like_ref({.rows = rows, .outputs = 33, .k = k});
  }
}

TEST(LinearFourBit, EveryNumberOfOutputsAgreesWithRef) {
  for (const std::int64_t rows : {1, 3, 12}) {
    for (std::int64_t outputs = 1; outputs <= 34; ++outputs) {
      expect_like_ref({.rows = rows, .outputs = outputs, .k = 192});
    }
  }
}

TEST(LinearFourBit, NestedBlocksThatEndWithinARowAgreeWithRef) {
  // 9 blocks a row: rows begin anywhere in the 256 of a nested block.
  for (const std::int64_t rows : {1, 4, 12}) {
    expect_like_ref({.nested = true, .rows = rows, .outputs = 200, .k = 576});
  }
}

TEST(LinearFourBit, Fp4AgreesWithRef) {
  for (const std::int64_t rows : {1, 20}) {
    expect_like_ref({.type = QuantType::kFP4, .rows = rows, .outputs = 33, .k = 576});
  }
}

TEST(LinearFourBit, ManyOutputsAreSharedByThreads) {
  for (const std::int64_t rows : {1, 8, 16}) {
    expect_like_ref({.nested = true, .rows = rows, .outputs = 1500, .k = 320});
  }
}

TEST(LinearFourBit, ActivationsAreRoundedToTheComputeDtype) {
  for (const auto& [dtype, stored] :
       {std::pair{ComputeDtype::kBF16, DType::kBF16}, std::pair{ComputeDtype::kF16, DType::kF16}}) {
    for (const Isa isa : isas()) {
      for (const std::int64_t k : {192, 100}) {
        for (const std::int64_t rows : {2, 20}) {
          // Tiles round weights too: see linear_four_bit_bf16_test.cc.
          if (isa == Isa::kAmx && dtype == ComputeDtype::kBF16 && rows > 8) continue;
          Machine machine(isa);
          const WeightForm form{.quant_type = QuantType::kNF4};
          const FourBitWeight weight(form, 9, k, 1);
          const auto x = random_floats(rows * k, 2);
          auto rounded = x;
          round_trip(stored, rounded);
          std::vector<float> y(static_cast<std::size_t>(rows * 9));
          std::vector<float> expected(y.size());
          linear(weight.view(dtype), {}, x, rows, y, machine.context());
          linear(weight.view(), {}, rounded, rows, expected, machine.context());
          EXPECT_TRUE(same_bits(y, expected)) << to_string(isa) << " " << k << " " << rows;
        }
      }
    }
  }
}

TEST(LinearFourBit, ResultDoesNotDependOnThreads) {
  for (const Isa isa : isas()) {
    for (const bool nested : {false, true}) {
      for (const std::int64_t rows : {1, 2, 3, 7, 40}) {
        const Case c{.nested = nested, .rows = rows, .outputs = 701, .k = 576};
        EXPECT_TRUE(same_bits(run(c, isa, 1), run(c, isa, 3))) << describe(c, isa);
      }
    }
  }
}

TEST(LinearFourBit, ResultDoesNotDependOnAlignment) {
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

TEST(LinearFourBit, AWeightAmongOthersGivesWhatItGivesAlone) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 4, 30}) {
      Machine machine(isa);
      const std::int64_t k = 256;
      const auto x = random_floats(rows * k, 2);
      std::vector<FourBitWeight> weights;
      std::vector<WeightView> views;
      std::vector<std::vector<float>> results;
      weights.reserve(8);
      for (unsigned i = 0; i < 8; ++i) {
        const WeightForm form{.quant_type = kTypes[i % 2], .nested = i % 3 == 0};
        weights.emplace_back(form, 1 + 40 * (i % 5), k, 10 + i);
        views.push_back(weights.back().view(i % 4 < 2 ? ComputeDtype::kF32 : ComputeDtype::kBF16));
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

TEST(LinearFourBit, AccumulateAddsToWhatIsThere) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 30}) {
      Machine machine(isa);
      const FourBitWeight weight({.quant_type = QuantType::kNF4}, 21, 128, 1);
      const WeightView view = weight.view();
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

TEST(LinearFourBit, WorkspaceThatLinearNamesSuffices) {
  for (const Isa isa : isas()) {
    for (const std::int64_t rows : {1, 8, 9, 40}) {
      for (const std::int64_t k : {64, 192, 300, 4096}) {
        Machine machine(isa, 3, linear_workspace_bytes(rows, k, 3));
        const FourBitWeight weight({.quant_type = QuantType::kNF4, .blocksize = 32, .nested = true},
                                   40, k, 1);
        const auto x = random_floats(rows * k, 2);
        std::vector<float> y(static_cast<std::size_t>(rows * 40));
        EXPECT_NO_THROW(linear(weight.view(ComputeDtype::kF16), {}, x, rows, y, machine.context()))
            << rows << " " << k;
        EXPECT_EQ(machine.context().workspace.mark(), 0U);
      }
    }
  }
}

TEST(TakesFourBitDot, WantsRowsThatBeginABlock) {
  const auto takes = [](std::int64_t blocksize, std::int64_t k, Isa isa) {
    const WeightView weight({.quant_type = QuantType::kNF4, .blocksize = blocksize}, {4, k},
                            nullptr, Device{});
    return takes_four_bit_dot(weight, isa);
  };
  EXPECT_TRUE(takes(64, 576, Isa::kAvx2));
  EXPECT_TRUE(takes(32, 64, Isa::kAvx512));
  EXPECT_FALSE(takes(32, 96, Isa::kAvx512));
  EXPECT_FALSE(takes(128, 576, Isa::kAvx512));
  EXPECT_FALSE(takes(64, 576, Isa::kRef));
}

}  // namespace
}  // namespace shoehorn
