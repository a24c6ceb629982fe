// Against what PyPI's tokenizers 0.23.3 reads: the scores of a Unigram model by Tokenizer.from_str,
// as to_str gives them back.
#include "text/serde_double.h"

#include <cmath>
#include <optional>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn::text {
namespace {

struct Recorded {
  std::string_view text;
  double value;
};

TEST(SerdeDouble, IsOffWhereTheLibraryIs) {
  for (const auto& [text, value] : {Recorded{"-11.126805305480957", -11.126805305480955},
                                    {"-3.9359233379364014", -3.935923337936402},
                                    {"-14.136754035949707", -14.136754035949709},
                                    {"-9.261787414550781", -9.26178741455078},
                                    {"-10.123456789012345678", -10.123456789012344}}) {
    EXPECT_EQ(serde_double(text), value) << text;
  }
}

TEST(SerdeDouble, IsTheNearestWhereDigitsAndPowerAreExact) {
  for (const auto& [text, value] : {Recorded{"0.1", 0.1},
                                    {"1.5E+3", 1500},
                                    {"1e-6", 1e-6},
                                    {"9007199254740993", 9007199254740992},
                                    {"7.2057594037927933e16", 7.205759403792794e16},
                                    {"5e-324", 5e-324},
                                    {"2.2250738585072014e-308", 2.2250738585072014e-308},
                                    {"1.7976931348623157e308", 1.7976931348623157e308}}) {
    EXPECT_EQ(serde_double(text), value) << text;
  }
}

TEST(SerdeDouble, LeavesOutDigitsBeyond64Bits) {
  for (const auto& [text, value] : {Recorded{"18446744073709551615", 1.8446744073709552e19},
                                    {"18446744073709551616", 1.8446744073709552e19},
                                    {"184467440737095516199.11111", 1.844674407370955e20},
                                    {"1844674407370955161.99", 1.8446744073709553e18},
                                    {"123456789012345678901234567890e-10", 1.2345678901234567e19},
                                    {"3141592653589793238462643e-24", 3.141592653589793}}) {
    EXPECT_EQ(serde_double(text), value) << text;
  }
}

TEST(SerdeDouble, IsZeroForWhatIsTooSmall) {
  for (const char* text : {"1e-400", "1e-99999999999999999999", "0e999999", "0e99999999999", "0"}) {
    EXPECT_EQ(serde_double(text), 0.0) << text;
  }
  EXPECT_TRUE(std::signbit(serde_double("-0").value()));
}

TEST(SerdeDouble, IsNothingForWhatIsTooLarge) {
  for (const char* text : {"1e309", "1.8e308", "17976931348623159e292", "1e99999999999"}) {
    EXPECT_EQ(serde_double(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace shoehorn::text
