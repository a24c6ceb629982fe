// The models of tests/data/models in 16, 8 and 4 bits on the processor.
#include <string>

#include <gtest/gtest.h>

#include "model/testing_quantized_distance.h"

namespace shoehorn {
namespace {

class QuantizedDistance : public ::testing::TestWithParam<testing::QuantizedMode> {};

TEST_P(QuantizedDistance, IsNoMoreThanTransformersAndBitsandbytes) {
  testing::expect_no_further(GetParam(), [](testing::TestModelOptions&) {});
}

INSTANTIATE_TEST_SUITE_P(All, QuantizedDistance, ::testing::ValuesIn(testing::quantized_modes()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace shoehorn
