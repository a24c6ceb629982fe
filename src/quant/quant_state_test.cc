#include "quant/quant_state.h"

#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// As transformers 5.23 with bitsandbytes 0.50.2 saved them.
constexpr const char* kNested =
    R"({"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [64, 192], )"
    R"("nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": 0.05157216265797615})";
constexpr const char* kPlain =
    R"({"quant_type": "fp4", "blocksize": 64, "dtype": "float32", "shape": [64, 192]})";

QuantState nested_state() {
  return {.quant_type = QuantType::kNF4,
          .blocksize = 64,
          .dtype = DType::kBF16,
          .shape = {64, 192},
          .nested = QuantState::Nested{.offset = 0.05157216265797615}};
}

QuantState plain_state() {
  return {.quant_type = QuantType::kFP4,
          .blocksize = 64,
          .dtype = DType::kF32,
          .shape = {64, 192},
          .nested = {}};
}

std::string offset_text(double offset) {
  QuantState state = nested_state();
  state.nested->offset = offset;
  const std::string json = quant_state_json(state);
  const std::size_t at = json.rfind(' ') + 1;
  return json.substr(at, json.size() - at - 1);
}

TEST(QuantStateKey, EndsWithTheType) {
  EXPECT_EQ(quant_state_key(QuantType::kNF4), "quant_state.bitsandbytes__nf4");
  EXPECT_EQ(quant_state_key(QuantType::kFP4), "quant_state.bitsandbytes__fp4");
}

TEST(QuantStateJson, IsWhatPythonPrints) {
  EXPECT_EQ(quant_state_json(nested_state()), kNested);
  EXPECT_EQ(quant_state_json(plain_state()), kPlain);
}

// repr() of the same numbers in Python.
TEST(QuantStateJson, NumbersAreShortestAsPythonHasThem) {
  EXPECT_EQ(offset_text(0.0), "0.0");
  EXPECT_EQ(offset_text(-0.0), "-0.0");
  EXPECT_EQ(offset_text(1.0), "1.0");
  EXPECT_EQ(offset_text(-12.5), "-12.5");
  EXPECT_EQ(offset_text(0.0001), "0.0001");
  EXPECT_EQ(offset_text(0.00012345), "0.00012345");
  EXPECT_EQ(offset_text(1e-05), "1e-05");
  EXPECT_EQ(offset_text(1.5e-07), "1.5e-07");
  EXPECT_EQ(offset_text(9.999999747378752e-05), "9.999999747378752e-05");
  EXPECT_EQ(offset_text(1234567890123456.0), "1234567890123456.0");
  EXPECT_EQ(offset_text(1e15), "1000000000000000.0");
  EXPECT_EQ(offset_text(1e16), "1e+16");
  EXPECT_EQ(offset_text(1.2345e+20), "1.2345e+20");
  EXPECT_EQ(offset_text(1.401298464324817e-45), "1.401298464324817e-45");
  EXPECT_EQ(offset_text(3.4028234663852886e+38), "3.4028234663852886e+38");
}

TEST(QuantStateJson, RefusesWhatItWouldNotRead) {
  const auto refuses = [](const auto& spoil) {
    QuantState state = nested_state();
    spoil(state);
    EXPECT_THROW(quant_state_json(state), ArgumentError);
  };
  refuses([](QuantState& state) { state.quant_type = QuantType::kInt8; });
  refuses([](QuantState& state) { state.blocksize = 48; });
  refuses([](QuantState& state) { state.dtype = DType::kF64; });
  refuses([](QuantState& state) { state.shape = {}; });
  refuses([](QuantState& state) { state.nested->blocksize = 64; });
  refuses([](QuantState& state) { state.nested->dtype = DType::kF16; });
  refuses(
      [](QuantState& state) { state.nested->offset = std::numeric_limits<double>::quiet_NaN(); });
  refuses(
      [](QuantState& state) { state.nested->offset = std::numeric_limits<double>::infinity(); });
}

TEST(ParseQuantState, ReadsWhatTransformersSaves) {
  EXPECT_EQ(parse_quant_state(kNested, "here"), nested_state());
  EXPECT_EQ(parse_quant_state(kPlain, "here"), plain_state());
}

TEST(ParseQuantState, TakesKeysInAnyOrderAndIgnoresOthers) {
  EXPECT_EQ(parse_quant_state(R"({"shape":[64,192],"new":{"a":[1]},"dtype":"float32",)"
                              R"("blocksize":64,"quant_type":"fp4"})",
                              "here"),
            plain_state());
}

TEST(ParseQuantState, TakesAnyRank) {
  const QuantState state = parse_quant_state(
      R"({"quant_type": "nf4", "blocksize": 4096, "dtype": "float16", "shape": [3, 4, 5]})", "");
  EXPECT_EQ(state.shape, Shape({3, 4, 5}));
  EXPECT_EQ(state.blocksize, 4096);
  EXPECT_EQ(state.dtype, DType::kF16);
}

TEST(ParseQuantState, UnknownTypesAreUnsupportedAndTheKnownOnesNamed) {
  for (const char* type : {"\"int4\"", "\"af4\"", "\"int8\"", "\"none\"", "\"\""}) {
    try {
      parse_quant_state(std::string(R"({"quant_type": )") + type + "}", "model.safetensors: w");
      FAIL() << type;
    } catch (const UnsupportedError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("model.safetensors: w"), HasSubstr(type),
                                      HasSubstr("nf4"), HasSubstr("fp4")));
    }
  }
}

/// What parse_quant_state says of a state in which `part` is replaced.
std::string complaint(std::string json, const std::string& part, const std::string& by) {
  const std::size_t at = json.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  json.replace(at, part.size(), by);
  try {
    parse_quant_state(json, "model.safetensors: w");
  } catch (const FormatError& error) {
    return error.what();
  }
  ADD_FAILURE() << json << " was read";
  return "";
}

TEST(ParseQuantState, SaysWhatIsWrongWithWhichKey) {
  struct Case {
    const char* part;
    const char* by;
    const char* key;
    const char* found;
  };
  const Case cases[] = {
      {"\"nf4\"", "4", "quant_type", "found 4"},
      {"\"quant_type\"", "\"quanttype\"", "quant_type", "missing"},
      {"\"blocksize\": 64", "\"blocksize\": 48", "blocksize", "found 48"},
      {"\"blocksize\": 64", "\"blocksize\": 0", "blocksize", "found 0"},
      {"\"blocksize\": 64", "\"blocksize\": -64", "blocksize", "found -64"},
      {"\"blocksize\": 64", "\"blocksize\": 64.0", "blocksize", "found 64.0"},
      {"\"blocksize\": 64", "\"blocksize\": true", "blocksize", "found true"},
      {"\"blocksize\": 64", "\"blocksize\": \"64\"", "blocksize", "found \"64\""},
      {"\"blocksize\": 64", "\"blocksize\": null", "blocksize", "found null"},
      {"\"blocksize\": 64", "\"blocksize\": 18446744073709551615", "blocksize", "1844674407370955"},
      {"\"blocksize\": 64, ", "", "blocksize", "missing"},
      {"\"bfloat16\"", "\"int8\"", "dtype", "found \"int8\""},
      {"\"bfloat16\"", "\"float64\"", "dtype", "found \"float64\""},
      {"\"bfloat16\"", "16", "dtype", "found 16"},
      {"[64, 192]", "[64, -192]", "shape", "found [64,-192]"},
      {"[64, 192]", "[64, 1.5]", "shape", "found [64,1.5]"},
      {"[64, 192]", "[]", "shape", "found []"},
      {"[64, 192]", "12288", "shape", "found 12288"},
      {"[64, 192]", "[1,1,1,1,1,1,1,1,1]", "shape", "found [1,1,1"},
      {"[64, 192]", "[4294967296, 4294967296]", "shape", "found [4294967296,"},
      {"[64, 192]", "[72057594037927936]", "shape", "found [72057594037927936]"},
      {"256", "64", "nested_blocksize", "found 64"},
      {"\"nested_blocksize\": 256, ", "", "nested_blocksize", "missing"},
      {"\"float32\"", "\"float16\"", "nested_dtype", "found \"float16\""},
      {"\"nested_dtype\": \"float32\", ", "", "nested_dtype", "missing"},
      {"0.05157216265797615", "1e39", "nested_offset", "found 1e+39"},
      {"0.05157216265797615", "\"0\"", "nested_offset", "found \"0\""},
      {", \"nested_offset\": 0.05157216265797615", "", "nested_offset", "missing"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(complaint(kNested, c.part, c.by),
                AllOf(HasSubstr("model.safetensors: w"), HasSubstr(c.key), HasSubstr(c.found)))
        << c.by;
  }
}

TEST(ParseQuantState, RefusesWhatIsNoJsonObject) {
  for (const char* json : {"", "{", "[]", "4", "\"nf4\"", "null", "{\"nested_offset\": NaN}",
                           "\xff\xfe", "{\"quant_type\": \"\xff\"}"}) {
    EXPECT_THROW(parse_quant_state(json, "here"), FormatError) << json;
  }
}

TEST(ParseQuantState, RefusesLongAndDeepJson) {
  EXPECT_THROW(parse_quant_state(std::string(1U << 20, '['), "here"), FormatError);
  EXPECT_THROW(parse_quant_state(std::string(4096, '['), "here"), FormatError);
  EXPECT_THROW(parse_quant_state(kPlain + std::string(5000, ' '), "here"), FormatError);
}

TEST(ParseQuantState, MessagesHoldNoControlCharactersOfTheFile) {
  const std::string what = complaint(kNested, "\"bfloat16\"", R"("\u001b[31m")");
  EXPECT_EQ(what.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace shoehorn
