#include "plan/size_string.h"

#include <fstream>
#include <iterator>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

TEST(ParseSizeReference, AgreesWithEveryRecordedString) {
  std::ifstream file(SHOEHORN_TEST_DATA "/device-map-cases.json");
  const auto golden = nlohmann::json::parse(file);
  ASSERT_GE(golden["size_strings"].size(), 40U);
  for (const auto& entry : golden["size_strings"]) {
    const std::string text = entry[0];
    if (entry[1].is_null()) {
      EXPECT_THROW(parse_size_reference(text), ArgumentError) << text;
    } else {
      EXPECT_EQ(parse_size_reference(text), entry[1].get<double>()) << text;
    }
  }
}

TEST(ParseSizeReference, TruncatesAfterMultiplying) {
  EXPECT_EQ(parse_size_reference("3.9999999999GB"), 3999999999.0);
}

TEST(ParseSizeReference, TakesANegativeNumberThatTruncatesToZero) {
  EXPECT_EQ(parse_size_reference("-0.0000000001GB"), 0.0);
}

TEST(ParseSizeReference, UnderscoresMustStandBetweenDigits) {
  EXPECT_EQ(parse_size_reference("1_0.0_5e0_1KB"), 100500.0);
  EXPECT_THROW(parse_size_reference("_1KB"), ArgumentError);
  EXPECT_THROW(parse_size_reference("1_KB"), ArgumentError);
  EXPECT_THROW(parse_size_reference("1__0KB"), ArgumentError);
  EXPECT_THROW(parse_size_reference("1_.0KB"), ArgumentError);
}

TEST(ParseSizeReference, NumbersBelowTheDoubleRangeAreZero) {
  EXPECT_EQ(parse_size_reference("1e-400GB"), 0.0);
  EXPECT_EQ(parse_size_reference("1e-99999999999999999999GB"), 0.0);
  EXPECT_EQ(parse_size_reference("0." + std::string(500, '0') + "1GB"), 0.0);
}

TEST(ParseSizeReference, NumbersAboveTheDoubleRangeAreRefused) {
  EXPECT_THROW(parse_size_reference("1e400GB"), ArgumentError);
  EXPECT_THROW(parse_size_reference("1e99999999999999999999GB"), ArgumentError);
}

TEST(ParseSizeReference, NamesTheOffendingText) {
  try {
    parse_size_reference("ten GB");
    FAIL();
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("\"ten GB\""));
  }
}

TEST(ParseSize, TakesTerabytesAndBareBytesToo) {
  EXPECT_EQ(parse_size("2TiB"), 2199023255552U);
  EXPECT_EQ(parse_size("1.5TB"), 1500000000000U);
  EXPECT_EQ(parse_size("8Tb"), 1000000000000U);
  EXPECT_EQ(parse_size("12345"), 12345U);
  EXPECT_EQ(parse_size("512 B"), 512U);
  EXPECT_EQ(parse_size(" 1GB "), 1000000000U);
}

TEST(ParseSize, RefusesNegativeInfiniteAndHugeAmounts) {
  EXPECT_THROW(parse_size("-1"), ArgumentError);
  EXPECT_THROW(parse_size("-1GiB"), ArgumentError);
  EXPECT_THROW(parse_size("inf"), ArgumentError);
  EXPECT_THROW(parse_size("nanB"), ArgumentError);
  EXPECT_THROW(parse_size("1e19"), ArgumentError);
  EXPECT_THROW(parse_size(""), ArgumentError);
  EXPECT_THROW(parse_size("10 apples"), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
