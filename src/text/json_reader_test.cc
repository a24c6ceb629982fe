#include "text/json_reader.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn::text {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

JsonValue read(const std::string& json) {
  JsonReader reader(json);
  JsonValue value = reader.read_value("top");
  reader.expect_end();
  return value;
}

TEST(JsonReader, ReadsEveryKindOfValue) {
  const JsonValue value = read(R"( {"a": [1, -2.5e1, true, null, "x"], "b": {}} )");
  EXPECT_EQ(value.get("a").items()[0].as_integer(), 1);
  EXPECT_EQ(value.get("a").items()[1].as_double(), -25);
  EXPECT_TRUE(value.get("a").items()[2].as_bool());
  EXPECT_TRUE(value.get("a").items()[3].is_null());
  EXPECT_EQ(value.get("a").items()[4].as_string(), "x");
  EXPECT_TRUE(value.get("b").members().empty());
}

TEST(JsonReader, JoinsSurrogatePairs) {
  EXPECT_EQ(read(R"("\ud83c\udf89\u00e9\n\u0000")").as_string(),
            std::string("\U0001F389\u00E9\n\0", 8));
}

TEST(JsonReader, ReadsDoublesAsTheTokenizersLibraryDoes) {
  EXPECT_EQ(read("-10.123456789012345678").as_double(), -10.123456789012344);
  EXPECT_EQ(read("5e-324").as_double(), 5e-324);
}

TEST(JsonReader, RefusesWhatIsNotJson) {
  for (const char* json : {"",
                           "{",
                           "[1,]",
                           "{\"a\":1,}",
                           "{\"a\" 1}",
                           "\"\\x\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"a",
                           "\"\n\"",
                           "01",
                           "1.",
                           "-",
                           "+1",
                           "tru",
                           "nul",
                           "[1 2]",
                           "{a:1}",
                           "1 2",
                           "\"\xFF\"",
                           "\"\\u12g4\"",
                           "1e999",
                           "NaN",
                           "'a'"}) {
    EXPECT_THROW(read(json), FormatError) << json;
  }
}

// Where the next value begins, after one that starts at byte 1.
std::size_t end_of_skipped(const std::string& json) {
  JsonReader reader(json, 1);
  reader.skip_nested();
  return reader.position();
}

TEST(JsonReader, StepsOverWhatIsNested) {
  EXPECT_EQ(end_of_skipped("[[1, 2], 3]"), 7U);
  EXPECT_EQ(end_of_skipped(R"([ {"a": [{}, []]}, 1])"), 17U);
  EXPECT_EQ(end_of_skipped(R"([{"}]\\": "\"}", "\\\"": 1}, 2])"), 27U);
}

TEST(JsonReader, MissesTheEndOfWhatIsNested) {
  for (const char* json : {"[[1, 2", R"([{"a)", R"([{"a\)", R"([{"a": {})"}) {
    EXPECT_THAT([&] { end_of_skipped(json); }, ThrowsMessage<FormatError>(HasSubstr("without end")))
        << json;
  }
}

TEST(JsonReader, RefusesDeepNesting) {
  EXPECT_NO_THROW(read(std::string(30, '[') + std::string(30, ']')));
  EXPECT_THAT([] { read(std::string(100000, '[')); },
              ThrowsMessage<FormatError>(HasSubstr("nesting")));
}

TEST(JsonReader, TellsWhereTheTextIsWrong) {
  EXPECT_THAT([] { read("[1, x]"); }, ThrowsMessage<FormatError>(HasSubstr("byte 4")));
}

TEST(JsonValue, NamesThePlaceOfAValueOfTheWrongKind) {
  EXPECT_THAT([] { read(R"({"a": [{"b": 1}]})").get("a").items()[0].get("b").as_string(); },
              ThrowsMessage<FormatError>("top.a[0].b: expected a string, found an integer"));
}

}  // namespace
}  // namespace shoehorn::text
