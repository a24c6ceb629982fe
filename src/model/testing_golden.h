// What was recorded beside a model of tests/data/models, and how far from it a result is.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/testing_model.h"

namespace shoehorn::testing {

/// The recorded tensors of a fixture.
struct Golden {
  explicit Golden(const std::string& name)
      : file(open_checkpoint(model_folder(name) / "logits.safetensors")) {}

  std::vector<std::int32_t> ids(const std::string& tensor) const {
    std::vector<std::int64_t> wide(static_cast<std::size_t>(file.at(tensor).shape.elements()));
    file.read(file.at(tensor), std::as_writable_bytes(std::span(wide)));
    return {wide.begin(), wide.end()};
  }
  std::vector<float> floats(const std::string& tensor) const {
    std::vector<float> values(static_cast<std::size_t>(file.at(tensor).shape.elements()));
    file.read(file.at(tensor), std::as_writable_bytes(std::span(values)));
    return values;
  }
  std::vector<std::int32_t> prompt(std::size_t row) const {
    const auto all = ids("input_ids");
    const std::size_t length = all.size() / 2;
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(row * length);
    return {first, first + static_cast<std::ptrdiff_t>(length)};
  }

  Checkpoint file;
};

/// The largest difference, relative to the largest recorded logit; infinite where one is no number.
inline double distance(const std::vector<float>& got, const std::vector<float>& want) {
  EXPECT_EQ(got.size(), want.size());
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    if (std::isnan(got[i])) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, std::abs(static_cast<double>(got[i]) - want[i]));
    largest = std::max(largest, std::abs(static_cast<double>(want[i])));
  }
  return difference / largest;
}

inline std::vector<float> both_prompts(const LoadedModel& model, const Golden& golden,
                                       std::size_t step = 1000) {
  std::vector<float> logits = all_logits(model, golden.prompt(0), step);
  const std::vector<float> second = all_logits(model, golden.prompt(1), step);
  logits.insert(logits.end(), second.begin(), second.end());
  return logits;
}

/// The likeliest ids after the first 8 of the first prompt, one pass each.
inline std::vector<std::int32_t> greedy_ids(const LoadedModel& model, const Golden& golden,
                                            std::size_t count) {
  const auto vocab = static_cast<std::size_t>(model.architecture().shape().vocab_size);
  const auto kv = model.new_kv_cache(24);
  std::vector<std::int32_t> ids = golden.prompt(0);
  ids.resize(8);
  std::vector<std::int32_t> got;
  std::vector<float> logits(vocab);
  while (got.size() < count) {
    std::vector<std::int32_t> positions(ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) {
      positions[i] = static_cast<std::int32_t>(kv->length()) + static_cast<std::int32_t>(i);
    }
    const BatchSequence sequence{
        .ids = ids, .positions = positions, .kv = kv.get(), .call_length = positions.back() + 1};
    model.run({&sequence, 1}, logits);
    got.push_back(static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin()));
    ids = {got.back()};
  }
  return got;
}

}  // namespace shoehorn::testing
