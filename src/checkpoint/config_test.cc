#include "checkpoint/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Config parse(std::string_view json) {
  return Config::parse(json, "config.json");
}

template <typename Call>
std::string refusal(const Call& call) {
  return testing::message_of<FormatError>(call);
}

TEST(ConfigParse, ReadsARecordedConfig) {
  const std::filesystem::path path =
      std::filesystem::path(SHOEHORN_TEST_DATA) / "models/llama-rope-yarn/config.v4.json";
  const Config config = Config::parse(read_text_file(path), path);
  EXPECT_EQ(config.size("hidden_size"), 48);
  EXPECT_EQ(config.text("model_type"), "llama");
  EXPECT_DOUBLE_EQ(config.number("rms_norm_eps"), 0.002);
  EXPECT_FALSE(config.boolean("attention_bias"));
  EXPECT_THAT(config.texts("architectures"), ElementsAre("LlamaForCausalLM"));
  EXPECT_DOUBLE_EQ(config.child("rope_scaling").number("factor"), 4.0);
}

TEST(ConfigParse, SaysThatThereIsNoConfig) {
  EXPECT_THAT(refusal([] { parse(""); }), HasSubstr("config.json: there is no config.json"));
}

TEST(ConfigParse, RefusesWhatIsNotAnObject) {
  for (const char* json : {"[]", "3", "null", "\"a\"", "true"}) {
    EXPECT_THAT(refusal([&] { parse(json); }), HasSubstr("must be a JSON object")) << json;
  }
}

TEST(ConfigParse, RefusesBrokenJson) {
  for (const char* json : {" ", "{", "{\"a\":}", "{\"a\":1,}", "{\"a\":1}x", "{\"a\":1e999}",
                           "{\"a\":\"\xff\"}", "{'a':1}"}) {
    EXPECT_THAT(refusal([&] { parse(json); }), AllOf(HasSubstr("config.json: is not valid JSON"),
                                                     ::testing::Not(HasSubstr("json.exception"))))
        << json;
  }
}

TEST(ConfigParse, RefusesDepth) {
  const std::string deep = str_cat("{\"a\":", std::string(1'000'000, '['));
  EXPECT_THAT(refusal([&] { parse(deep); }), HasSubstr("nested deeper than 64 levels"));
}

TEST(ConfigParse, TakesTheLastOfTwoEqualKeysAsPythonDoes) {
  EXPECT_EQ(parse(R"({"a":1,"a":2})").integer("a"), 2);
}

TEST(ConfigHas, TakesNullForAbsent) {
  const Config config = parse(R"({"head_dim":null,"x":0})");
  EXPECT_FALSE(config.has("head_dim"));
  EXPECT_TRUE(config.has("x"));
  EXPECT_EQ(config.size("head_dim", 64), 64);
  EXPECT_EQ(config.find_integer("head_dim"), std::nullopt);
  EXPECT_THAT(config.integers("head_dim"), IsEmpty());
  EXPECT_EQ(config.find_child("head_dim"), std::nullopt);
  EXPECT_THAT(config.keys(), ElementsAre("x"));
}

TEST(ConfigValue, NamesTheKeyThatIsMissing) {
  const Config config = parse("{}");
  EXPECT_THAT(refusal([&] { config.size("hidden_size"); }),
              HasSubstr("config.json: hidden_size: is missing; expected an integer from 1"));
  EXPECT_THAT(refusal([&] { config.integer("a"); }), HasSubstr("a: is missing"));
  EXPECT_THAT(refusal([&] { config.number("a"); }), HasSubstr("expected a number"));
  EXPECT_THAT(refusal([&] { config.boolean("a"); }), HasSubstr("expected true or false"));
  EXPECT_THAT(refusal([&] { config.text("a"); }), HasSubstr("expected a string"));
  EXPECT_THAT(refusal([&] { config.child("a"); }), HasSubstr("expected an object"));
}

TEST(ConfigValue, SaysWhatItFoundInstead) {
  const Config config = parse(R"({"a":"8","b":[1],"c":{},"d":true,"e":1.5})");
  EXPECT_THAT(refusal([&] { config.integer("a"); }),
              HasSubstr("config.json: a: expected an integer, found \"8\""));
  EXPECT_THAT(refusal([&] { config.number("b"); }), HasSubstr("expected a number, found a list"));
  EXPECT_THAT(refusal([&] { config.text("c"); }), HasSubstr("expected a string, found an object"));
  EXPECT_THAT(refusal([&] { config.integer("d"); }), HasSubstr("found true"));
  EXPECT_THAT(refusal([&] { config.integer("e", 3); }), HasSubstr("found 1.5"));
  EXPECT_THAT(refusal([&] { config.boolean("e", true); }), HasSubstr("found 1.5"));
  EXPECT_THAT(refusal([&] { config.find_child("a"); }), HasSubstr("expected an object, found"));
}

TEST(ConfigSize, RefusesWhatIsNoDimension) {
  for (const char* value : {"0", "-1", "2147483648", "18446744073709551615", "64.0", "false"}) {
    const Config config = parse(str_cat(R"({"hidden_size":)", value, "}"));
    EXPECT_THAT(refusal([&] { config.size("hidden_size", 1); }),
                HasSubstr("hidden_size: expected an integer from 1 to 2147483647"))
        << value;
  }
}

TEST(ConfigInteger, RefusesMoreThan63Bits) {
  const Config config = parse(R"({"a":9223372036854775808,"b":-9223372036854775808})");
  EXPECT_THAT(refusal([&] { config.integer("a"); }), HasSubstr("found 9223372036854775808"));
  EXPECT_EQ(config.integer("b"), INT64_MIN);
}

TEST(ConfigNumber, TakesIntegersToo) {
  EXPECT_EQ(parse(R"({"rope_theta":1000000})").number("rope_theta"), 1e6);
}

TEST(ConfigIntegers, TakesOneForAListOfOne) {
  const Config config = parse(R"({"one":2,"many":[2,3],"none":[]})");
  EXPECT_THAT(config.integers("one"), ElementsAre(2));
  EXPECT_THAT(config.integers("many"), ElementsAre(2, 3));
  EXPECT_THAT(config.integers("none"), IsEmpty());
  EXPECT_THAT(config.integers("absent"), IsEmpty());
}

TEST(ConfigLists, NameTheEntryThatIsWrong) {
  const Config config = parse(R"({"a":[1,"x"],"b":"x"})");
  EXPECT_THAT(refusal([&] { config.numbers("a"); }),
              HasSubstr("config.json: a[1]: expected a number, found \"x\""));
  EXPECT_THAT(refusal([&] { config.texts("b"); }), HasSubstr("expected a list"));
  EXPECT_THAT(refusal([&] { parse(R"({"a":[1,null]})").integers("a"); }),
              HasSubstr("a[1]: expected an integer, found null"));
}

TEST(ConfigChild, NamesItsKeysInFull) {
  const Config rope =
      parse(R"({"a":{"rope_scaling":{"factor":"x"}}})").child("a").child("rope_scaling");
  EXPECT_THAT(refusal([&] { rope.number("factor"); }),
              HasSubstr("config.json: a.rope_scaling.factor: expected a number"));
  EXPECT_THAT(std::string(rope.error("factor", "must be above 1").what()),
              HasSubstr("config.json: a.rope_scaling.factor: must be above 1"));
}

TEST(ConfigChild, OutlivesItsParent) {
  std::optional<Config> child;
  {
    const Config parent = parse(R"({"text_config":{"hidden_size":8}})");
    child = parent.find_child("text_config");
  }
  EXPECT_EQ(child.value().size("hidden_size"), 8);
}

}  // namespace
}  // namespace shoehorn
