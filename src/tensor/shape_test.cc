#include "tensor/shape.h"

#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

TEST(Shape, CountsElements) {
  EXPECT_EQ(Shape({}).elements(), 1);
  EXPECT_EQ((Shape{3, 4, 5}).elements(), 60);
  EXPECT_EQ((Shape{3, 0, 5}).elements(), 0);
}

TEST(Shape, SaysWhenTheProductOverflows) {
  EXPECT_EQ((Shape{1LL << 32, 1LL << 32}).checked_elements(), std::nullopt);
  EXPECT_EQ((Shape{0, 1LL << 62, 1LL << 62}).checked_elements(), std::nullopt);
}

TEST(Shape, RefusesNegativeDimensions) {
  EXPECT_THROW((Shape{2, -1}), ArgumentError);
}

TEST(Shape, PrintsAsTorchDoes) {
  EXPECT_EQ(to_string(Shape{4096, 11008}), "[4096, 11008]");
  EXPECT_EQ(to_string(Shape{}), "[]");
}

TEST(Shape, NegativeIndexCountsFromTheEnd) {
  EXPECT_EQ((Shape{2, 3, 7})[-1], 7);
}

}  // namespace
}  // namespace shoehorn
