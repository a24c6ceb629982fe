// How far from float32 the models of tests/data/models are in 16, 8 and 4 bits, against what
// transformers and bitsandbytes make of the same files: tests/data/quantized_distances.json,
// recorded by tests/parity/record_quantized_distances.py.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "model/testing_golden.h"
#include "model/testing_model.h"

namespace shoehorn::testing {

inline const nlohmann::json& recorded_distances() {
  static const auto facts = nlohmann::json::parse(
      read_text_file(std::filesystem::path(SHOEHORN_TEST_DATA) / "quantized_distances.json"));
  return facts.at("models");
}

/// As the recording has them.
struct MeanDistance {
  double mean = 0;    // of all logits, over their mean magnitude
  double median = 0;  // that of the median position
};

inline MeanDistance mean_distance(const std::vector<float>& got, const std::vector<float>& want,
                                  std::size_t vocab) {
  EXPECT_EQ(got.size(), want.size());
  double size = 0;
  std::vector<double> positions(want.size() / vocab);
  for (std::size_t i = 0; i < want.size(); ++i) {
    positions[i / vocab] += std::abs(static_cast<double>(got[i]) - want[i]);
    size += std::abs(static_cast<double>(want[i]));
  }
  double sum = 0;
  for (const double position : positions) sum += position;
  std::ranges::sort(positions);
  const std::size_t middle = positions.size() / 2;
  const double median = (positions[middle - 1] + positions[middle]) / 2;
  return {.mean = sum / size, .median = median * static_cast<double>(positions.size()) / size};
}

/// Rounding is chance: what a model of random weights lands at with the same arithmetic differs
/// with the order of sums, and a routing decision that turns moves a whole row. So every model may
/// lose by `most`, and all of them together, by the geometric mean of their ratios, by nothing that
/// shows: `most_of_all`.
struct QuantizedMode {
  const char* name;   // ours
  const char* their;  // the recording's
  TestModelOptions options;
  double most = 1;
  double most_of_all = 1;
};

inline TestModelOptions quantized(DType dtype, bool four_bits, ComputeDtype compute) {
  BitsAndBytesConfig config{.load_in_8bit = !four_bits, .load_in_4bit = four_bits};
  config.bnb_4bit_quant_type = "nf4";
  return {.dtype = dtype, .quantization = config, .compute = {.dtype = compute}, .kv_dtype = dtype};
}

inline std::vector<QuantizedMode> quantized_modes() {
  constexpr DType kB = DType::kBF16;
  constexpr DType kF = DType::kF32;
  return {{"bfloat16", "bfloat16", {.dtype = kB, .kv_dtype = kB}, 0.7, 0.6},
          {"int8_bf16", "int8_bf16", quantized(kB, false, ComputeDtype::kF32), 1.03, 0.95},
          {"int8_f32", "int8_f32", quantized(kF, false, ComputeDtype::kF32), 1.03, 1.001},
          {"nf4_bf16", "nf4_bf16", quantized(kB, true, ComputeDtype::kBF16), 1.01, 1.001},
          {"nf4_f32", "nf4_f32", quantized(kF, true, ComputeDtype::kF32), 1.001, 1.0005},
          // What `auto` picks for NF4.
          {"nf4_int8", "nf4_bf16", quantized(kB, true, ComputeDtype::kInt8), 1.02, 1.003}};
}

/// Holds every recorded model against the recording, loaded as `mode` and `place` say.
inline void expect_no_further(QuantizedMode mode,
                              const std::function<void(TestModelOptions&)>& place) {
  place(mode.options);
  double logarithms = 0;
  double worst = 0;
  for (const auto& [name, facts] : recorded_distances().items()) {
    const Golden golden(name);
    const auto model = load_test_model(model_folder(name), mode.options);
    const auto ours =
        mean_distance(both_prompts(*model, golden), golden.floats("logits"),
                      static_cast<std::size_t>(model->architecture().shape().vocab_size));
    const nlohmann::json& theirs = facts.at(mode.their);
    const auto mean = theirs.at("mean").get<double>();
    // The better of the two says what the arithmetic does where a router's choice turned.
    const double ratio =
        std::min(ours.mean / mean, ours.median / theirs.at("median").get<double>());
    EXPECT_LT(ratio, mode.most) << name << ": " << ours.mean << " on average, " << mean
                                << " theirs";
    logarithms += std::log(ours.mean / mean);
    worst = std::max(worst, ratio);
  }
  const double all = std::exp(logarithms / static_cast<double>(recorded_distances().size()));
  std::printf("%s: %.4f of their distance, worst model %.3f\n", mode.name, all, worst);
  EXPECT_LT(all, mode.most_of_all);
}

}  // namespace shoehorn::testing
