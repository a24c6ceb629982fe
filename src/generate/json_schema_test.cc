#include "generate/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "generate/testing_grammar.h"

namespace shoehorn {
namespace {

using ::testing::HasSubstr;
using testing::Match;

bool accepts(std::string_view schema, std::string_view json) {
  return testing::match(json_schema_gbnf(schema), json) == Match::kWhole;
}
template <typename E>
std::string refusal(std::string_view schema) {
  try {
    json_schema_gbnf(schema);
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

TEST(JsonSchemaGbnf, OfNothingIsAnyJson) {
  for (const char* json : {"{}", "[1, -2.5e3, true, null]", R"({"a": {"b": ["x\n\u00e9é"]}})"}) {
    EXPECT_TRUE(accepts("{}", json)) << json;
    EXPECT_TRUE(accepts("true", json)) << json;
  }
  for (const char* json : {"", "{", "[1,]", "01", "\"a\nb\"", "{a:1}", "nul", "1 2"}) {
    EXPECT_FALSE(accepts("{}", json)) << json;
  }
}

TEST(JsonSchemaGbnf, KnowsTheTypes) {
  EXPECT_TRUE(accepts(R"({"type":"integer"})", "-12"));
  EXPECT_FALSE(accepts(R"({"type":"integer"})", "1.5"));
  EXPECT_TRUE(accepts(R"({"type":"number"})", "1.5"));
  EXPECT_FALSE(accepts(R"({"type":"string"})", "1"));
  EXPECT_TRUE(accepts(R"({"type":["string","null"]})", "null"));
  EXPECT_TRUE(accepts(R"({"type":["string","null"],"minLength":2})", R"("ab")"));
  EXPECT_FALSE(accepts(R"({"type":["string","null"],"minLength":2})", R"("a")"));
}

TEST(JsonSchemaGbnf, PropertiesComeInOrderAndMayBeLeftOut) {
  const char* schema = R"({"type":"object","properties":{"a":{"type":"integer"},
      "b":{"type":"boolean"},"c":{"type":"null"}},"required":["b"]})";
  for (const char* json : {R"({"b": true})", R"({"a":1,"b":false})", R"({"a":1,"b":true,"c":null})",
                           "{\n  \"b\": true,\n  \"c\": null\n}"}) {
    EXPECT_TRUE(accepts(schema, json)) << json;
  }
  for (const char* json : {"{}", R"({"a":1})", R"({"b":true,"a":1})", R"({"b":true,"d":1})",
                           R"({"b":true,})", R"({,"b":true})", R"({"b":1})"}) {
    EXPECT_FALSE(accepts(schema, json)) << json;
  }
}

TEST(JsonSchemaGbnf, OtherPropertiesComeWhereTheyAreAllowed) {
  const char* schema = R"({"properties":{"a":{"type":"integer"}},
                           "additionalProperties":{"type":"string"}})";
  for (const char* json : {"{}", R"({"a":1})", R"({"x":"y"})", R"({"a":1,"x":"y","z":""})"}) {
    EXPECT_TRUE(accepts(schema, json)) << json;
  }
  EXPECT_FALSE(accepts(schema, R"({"x":1})"));
  EXPECT_FALSE(accepts(R"({"properties":{"a":{}}})", R"({"x":1})"));
  EXPECT_TRUE(accepts(R"({"type":"object"})", R"({"x":1})"));
}

TEST(JsonSchemaGbnf, BoundsArraysAndStrings) {
  const char* array = R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})";
  EXPECT_FALSE(accepts(array, "[]"));
  EXPECT_TRUE(accepts(array, "[1]"));
  EXPECT_TRUE(accepts(array, "[1, 2, 3]"));
  EXPECT_FALSE(accepts(array, "[1, 2, 3, 4]"));
  EXPECT_TRUE(accepts(R"({"maxItems":0})", "[]"));
  EXPECT_TRUE(accepts(R"({"prefixItems":[{"type":"null"},{"type":"integer"}]})", "[null, 1]"));
  EXPECT_TRUE(accepts(R"({"maxLength":2})", R"("é\n")"));
  EXPECT_FALSE(accepts(R"({"maxLength":2})", R"("abc")"));
  EXPECT_TRUE(accepts(R"({"format":"date-time"})", R"("2026-11-26T17:00:01Z")"));
  EXPECT_FALSE(accepts(R"({"format":"date"})", R"("2026-13-26")"));
}

TEST(JsonSchemaGbnf, KnowsValuesAndChoices) {
  const char* choice = R"({"enum":["red","gr\"een",7,null]})";
  EXPECT_TRUE(accepts(choice, R"("gr\"een")"));
  EXPECT_TRUE(accepts(choice, "7"));
  EXPECT_FALSE(accepts(choice, R"("blue")"));
  EXPECT_TRUE(accepts(R"({"const":{"a":[1]}})", R"({"a":[1]})"));
  EXPECT_TRUE(accepts(R"({"anyOf":[{"type":"null"},{"type":"integer"}]})", "3"));
  EXPECT_FALSE(accepts(R"({"oneOf":[{"type":"null"},{"type":"integer"}]})", "true"));
}

TEST(JsonSchemaGbnf, FollowsReferencesInCircles) {
  const char* schema = R"({"$ref":"#/$defs/node","$defs":{"node":{"type":"object",
      "properties":{"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},
      "required":["next"]}}})";
  EXPECT_TRUE(accepts(schema, R"({"next":{"next":{"next":null}}})"));
  EXPECT_FALSE(accepts(schema, R"({"next":{}})"));
}

TEST(JsonSchemaGbnf, NamesWhatItDoesNotKnow) {
  EXPECT_THAT(refusal<UnsupportedError>(R"({"properties":{"a":{"type":"string","pattern":"x"}}})"),
              HasSubstr("at /properties/a: pattern"));
  EXPECT_THAT(refusal<UnsupportedError>(R"({"type":"integer","minimum":3})"), HasSubstr("minimum"));
  EXPECT_THAT(refusal<UnsupportedError>(R"({"allOf":[{}]})"), HasSubstr("allOf"));
  EXPECT_THAT(refusal<UnsupportedError>(R"({"format":"email"})"), HasSubstr("email"));
  EXPECT_THAT(refusal<UnsupportedError>(R"({"$ref":"http://x"})"), HasSubstr("$ref"));
}

TEST(JsonSchemaGbnf, RefusesWhatIsNoSchema) {
  EXPECT_THAT(refusal<FormatError>("{"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal<FormatError>("3"), HasSubstr("must be an object"));
  EXPECT_THAT(refusal<FormatError>("false"), HasSubstr("accepts no value"));
  EXPECT_THAT(refusal<FormatError>(R"({"type":"text"})"), HasSubstr("text is unknown"));
  EXPECT_THAT(refusal<FormatError>(R"({"$ref":"#/no"})"), HasSubstr("names nothing"));
  EXPECT_THAT(refusal<FormatError>(R"({"minItems":3,"maxItems":2})"), HasSubstr("below"));
  EXPECT_THAT(refusal<FormatError>(R"({"properties":{},"required":["a"]})"),
              HasSubstr("requires a"));
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += R"({"items":)";
  EXPECT_THAT(refusal<FormatError>(deep + "{}" + std::string(100, '}')), HasSubstr("deeper"));
}

}  // namespace
}  // namespace shoehorn
