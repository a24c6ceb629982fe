// The models of tests/data/models in 16, 8 and 4 bits on a CUDA device. Skipped out loud where
// there is no card.
#include <algorithm>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "cuda/card.h"
#include "model/testing_quantized_distance.h"

namespace shoehorn {
namespace {

class QuantizedDistanceOnCards : public ::testing::TestWithParam<testing::QuantizedMode> {
 protected:
  void SetUp() override {
    if (cuda::find_cards().cards.empty()) GTEST_SKIP() << cuda::find_cards().why_none;
  }
};

// From 9 rows on activations are rounded to 16 bits there, as transformers rounds them: a model is
// about as far as theirs, and not nearer.
constexpr double kMost = 1.1;
constexpr double kMostOfAll = 1.02;

TEST_P(QuantizedDistanceOnCards, IsNoMoreThanTransformersAndBitsandbytes) {
  testing::QuantizedMode mode = GetParam();
  mode.most = std::max(mode.most, kMost);
  mode.most_of_all = std::max(mode.most_of_all, kMostOfAll);
  testing::expect_no_further(mode, [](testing::TestModelOptions& options) {
    const int card = cuda::find_cards().cards.front().ordinal;
    const Device device{DeviceKind::kCuda, 0};
    options.accelerators = {{device, std::size_t{4} << 30, card}};
    options.device_of = [device](std::string_view) { return device; };
  });
}

INSTANTIATE_TEST_SUITE_P(All, QuantizedDistanceOnCards,
                         ::testing::ValuesIn(testing::quantized_modes()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace shoehorn
