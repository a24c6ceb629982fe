#include "checkpoint/safetensors_header.h"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

SafetensorsHeader parse(std::string_view json, std::size_t data_bytes) {
  const std::string file = testing::safetensors_file(json, data_bytes);
  return parse_safetensors(testing::as_bytes(file), "model.safetensors");
}

std::string refusal(std::string_view json, std::size_t data_bytes) {
  return testing::message_of<FormatError>([&] { parse(json, data_bytes); });
}

std::string refusal_of_file(std::string_view file) {
  return testing::message_of<FormatError>(
      [&] { parse_safetensors(testing::as_bytes(file), "model.safetensors"); });
}

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape,
                  std::string_view offsets) {
  return str_cat('"', name, R"(":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)",
                 offsets, "}");
}

TEST(ParseSafetensors, KnowsNameTypeShapeAndRange) {
  const std::string json = "{" + entry("w", "BF16", "[2,3]", "[0,12]") + "}";
  const auto header = parse(json, 12);
  ASSERT_EQ(header.tensors.size(), 1U);
  const TensorInfo& info = header.tensors[0];
  EXPECT_EQ(info.name, "w");
  EXPECT_EQ(info.dtype, DType::kBF16);
  EXPECT_EQ(info.shape, (Shape{2, 3}));
  EXPECT_EQ(info.offset, 8 + json.size());
  EXPECT_EQ(info.bytes, 12U);
}

TEST(ParseSafetensors, ListsTensorsByOffset) {
  const auto header = parse(
      "{" + entry("b", "U8", "[2]", "[1,3]") + "," + entry("a", "U8", "[1]", "[0,1]") + "}", 3);
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[1].name, "b");
}

TEST(ParseSafetensors, AcceptsTheSpacesThatPadTheHeader) {
  EXPECT_EQ(parse("{" + entry("a", "U8", "[1]", "[0,1]") + "}     ", 1).tensors.size(), 1U);
}

TEST(ParseSafetensors, AcceptsAFileWithoutTensors) {
  EXPECT_THAT(parse("{}", 0).tensors, IsEmpty());
}

TEST(ParseSafetensors, AcceptsScalarsAndEmptyTensors) {
  const auto header = parse("{" + entry("empty", "F32", "[0,7]", "[0,0]") + "," +
                                entry("scalar", "F32", "[]", "[0,4]") + "," +
                                entry("end", "F32", "[0]", "[4,4]") + "}",
                            4);
  ASSERT_EQ(header.tensors.size(), 3U);
  EXPECT_EQ(header.tensors[1].name, "scalar");
  EXPECT_EQ(header.tensors[1].shape.rank(), 0U);
}

TEST(ParseSafetensors, KeepsAnyMetadata) {
  const auto header = parse(R"({"__metadata__":{"format":"mlx","note":"a\nb"}})", 0);
  EXPECT_THAT(header.metadata, ElementsAre(Pair("format", "mlx"), Pair("note", "a\nb")));
}

TEST(ParseSafetensors, IgnoresFieldsOfLaterVersions) {
  const auto header = parse(
      R"({"a":{"dtype":"U8","extra":{"x":[1,-2.5e3,true,null,"s"]},"shape":[1],"data_offsets":[0,1]}})",
      1);
  EXPECT_EQ(header.tensors.size(), 1U);
}

TEST(ParseSafetensors, UnescapesNames) {
  EXPECT_EQ(parse("{" + entry(R"(w\u00e9\"x)", "U8", "[1]", "[0,1]") + "}", 1).tensors[0].name,
            "w\xc3\xa9\"x");
}

struct Stored {
  const char* dtype;
  const char* shape;
  std::size_t bytes;
};

class EverySafetensorsDType : public ::testing::TestWithParam<Stored> {};

TEST_P(EverySafetensorsDType, HasTheSizeThatTheReferenceGivesIt) {
  const auto [dtype, shape, bytes] = GetParam();
  const auto header =
      parse("{" + entry("w", dtype, shape, str_cat("[0,", bytes, "]")) + "}", bytes);
  EXPECT_EQ(header.tensors.at(0).bytes, bytes);
  EXPECT_EQ(to_string(header.tensors[0].dtype), dtype);
}

INSTANTIATE_TEST_SUITE_P(
    All, EverySafetensorsDType,
    ::testing::Values(Stored{"BOOL", "[3]", 3}, Stored{"U8", "[3]", 3}, Stored{"I8", "[3]", 3},
                      Stored{"U16", "[3]", 6}, Stored{"I16", "[3]", 6}, Stored{"U32", "[3]", 12},
                      Stored{"I32", "[3]", 12}, Stored{"U64", "[3]", 24}, Stored{"I64", "[3]", 24},
                      Stored{"F8_E4M3", "[3]", 3}, Stored{"F8_E5M2", "[3]", 3},
                      Stored{"F8_E8M0", "[3]", 3}, Stored{"F16", "[3]", 6},
                      Stored{"BF16", "[3]", 6}, Stored{"F32", "[3]", 12}, Stored{"F64", "[3]", 24},
                      Stored{"C64", "[3]", 24}, Stored{"F4", "[3,2]", 3},
                      Stored{"F6_E2M3", "[3,4]", 9}, Stored{"F6_E3M2", "[3,4]", 9}),
    [](const auto& info) { return std::string(info.param.dtype); });

// --- files that break the format

TEST(ParseSafetensors, RefusesLessThanALength) {
  EXPECT_THAT(refusal_of_file("1234567"), HasSubstr("model.safetensors: is not safetensors"));
}

TEST(ParseSafetensors, RefusesAHeaderLongerThanTheFile) {
  const std::string whole = testing::safetensors_file("{}      ", 0);
  EXPECT_THAT(refusal_of_file(whole.substr(0, whole.size() - 1)),
              AllOf(HasSubstr("claims a header of 8 bytes"), HasSubstr("only 7")));
}

TEST(ParseSafetensors, RefusesAHeaderLengthThatWrapsAround) {
  EXPECT_THAT(refusal_of_file(std::string(8, '\xff') + "{}"), HasSubstr("18446744073709551615"));
}

TEST(ParseSafetensors, RefusesAHeaderLengthAboveTheReferenceLimit) {
  std::string file(8, '\0');
  const std::uint64_t length = kMaxSafetensorsHeaderBytes + 1;
  std::memcpy(file.data(), &length, sizeof(length));
  EXPECT_THAT(refusal_of_file(file + "{}"), HasSubstr("at most 100000000"));
}

TEST(ParseSafetensors, RefusesAnEmptyHeader) {
  EXPECT_THAT(refusal("", 0), HasSubstr("does not start with '{'"));
}

TEST(ParseSafetensors, RefusesAHeaderThatBeginsWithASpace) {
  EXPECT_THAT(refusal(" {}", 0), HasSubstr("does not start with '{'"));
}

TEST(ParseSafetensors, RefusesAListAsHeader) {
  EXPECT_THAT(refusal("[]", 0), HasSubstr("does not start with '{'"));
}

TEST(ParseSafetensors, RefusesTextBehindTheHeaderObject) {
  EXPECT_THAT(refusal("{}x", 0), HasSubstr("does not end in '}'"));
  EXPECT_THAT(refusal("{}{}", 0), HasSubstr("model.safetensors: has"));
}

TEST(ParseSafetensors, RefusesBrokenJson) {
  for (const char* json :
       {"{\"a\"}", "{\"a\":}", "{,}", "{\"a\":{}", "{\"a\":{\"dtype\":\"U8\",}}", "{\"a",
        "{\"a\":{\"dtype\" \"U8\"}}", "{\"a\":{\"extra\":[1 2]}}", "{\"a\":{\"extra\":nul}}",
        "{\"a\":{\"extra\":\"\\q\"}}", "{a:1}", "{\"a\":{\"dtype\":\"U8\"};}"}) {
    EXPECT_THAT(refusal(json, 0), HasSubstr("model.safetensors: ")) << json;
  }
}

TEST(ParseSafetensors, RefusesInvalidUtf8) {
  EXPECT_THAT(refusal("{" + entry("\xff", "U8", "[1]", "[0,1]") + "}", 1),
              HasSubstr("not valid JSON"));
}

TEST(ParseSafetensors, RefusesTheSameNameTwice) {
  const std::string twice =
      "{" + entry("a.b", "U8", "[1]", "[0,1]") + "," + entry("a.b", "U8", "[1]", "[1,2]") + "}";
  EXPECT_THAT(refusal(twice, 2), HasSubstr("model.safetensors: a.b: is there twice"));
}

TEST(ParseSafetensors, RefusesTheSameNameInTwoSpellings) {
  const std::string twice =
      "{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("\\u0061", "U8", "[1]", "[1,2]") + "}";
  EXPECT_THAT(refusal(twice, 2), HasSubstr("a: is there twice"));
}

TEST(ParseSafetensors, RefusesTheSameFieldTwice) {
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
              HasSubstr("a: has dtype twice"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})", 1),
              HasSubstr("a: has shape twice"));
  EXPECT_THAT(refusal(R"({"a":{"data_offsets":[0,1],"data_offsets":[0,1]}})", 1),
              HasSubstr("a: has data_offsets twice"));
}

TEST(ParseSafetensors, RefusesMetadataTwice) {
  EXPECT_THAT(refusal(R"({"__metadata__":{},"__metadata__":{}})", 0), HasSubstr("there twice"));
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":"1","a":"2"}})", 0), HasSubstr("the key a twice"));
}

TEST(ParseSafetensors, RefusesMetadataThatIsNotText) {
  EXPECT_THAT(refusal(R"({"__metadata__":{"a":1}})", 0), HasSubstr("must hold strings"));
  EXPECT_THAT(refusal(R"({"__metadata__":["a"]})", 0), HasSubstr("must be an object of strings"));
}

TEST(ParseSafetensors, RefusesMissingFields) {
  EXPECT_THAT(refusal(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1),
              HasSubstr("a: has no dtype"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1),
              HasSubstr("a: has no shape"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":"U8","shape":[1]}})", 1),
              HasSubstr("a: has no data_offsets"));
}

TEST(ParseSafetensors, RefusesValuesOfTheWrongType) {
  EXPECT_THAT(refusal(R"({"a":3})", 0), HasSubstr("a: must be an object"));
  EXPECT_THAT(refusal(R"({"a":{"dtype":8}})", 0), HasSubstr("a: dtype must be a string"));
  EXPECT_THAT(refusal(R"({"a":{"shape":4}})", 0), HasSubstr("a: shape must be a list"));
  EXPECT_THAT(refusal(R"({"a":{"data_offsets":"0"}})", 0), HasSubstr("a list of two integers"));
}

TEST(ParseSafetensors, NamesTheKnownTypesWhenOneIsUnknown) {
  EXPECT_THAT(refusal("{" + entry("a", "Q4_K", "[256]", "[0,144]") + "}", 144),
              AllOf(HasSubstr("a: has the unknown dtype Q4_K; known are BOOL, U8"),
                    HasSubstr("F6_E3M2"), ::testing::Not(HasSubstr("C128"))));
}

TEST(ParseSafetensors, RefusesNumbersThatAreNoCounts) {
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[-1]", "[0,1]") + "}", 1), HasSubstr("not -1"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[1.0]", "[0,1]") + "}", 1), HasSubstr("not 1.0"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[\"1\"]", "[0,1]") + "}", 1), HasSubstr("not \"1\""));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[1]", "[0,-1]") + "}", 1), HasSubstr("not -1"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[18446744073709551616]", "[0,1]") + "}", 1),
              HasSubstr("a: shape must hold integers"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[9223372036854775808]", "[0,1]") + "}", 1),
              HasSubstr("more than any file holds"));
}

TEST(ParseSafetensors, RefusesOffsetsThatAreNotAPair) {
  for (const char* offsets : {"[]", "[0]", "[0,1,1]"}) {
    EXPECT_THAT(refusal("{" + entry("a", "U8", "[1]", offsets) + "}", 1),
                HasSubstr("a: data_offsets must be a list of two integers"));
  }
}

TEST(ParseSafetensors, RefusesMoreDimensionsThanShapeHolds) {
  EXPECT_THROW(parse("{" + entry("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") + "}", 1),
               UnsupportedError);
}

TEST(ParseSafetensors, RefusesOffsetsThatRunBackwards) {
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[1]", "[1,0]") + "}", 1), HasSubstr("run backwards"));
}

TEST(ParseSafetensors, RefusesOffsetsOutsideTheFile) {
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[2]", "[0,2]") + "}", 1),
              HasSubstr("a: data_offsets end at byte 2 but the file has only 1 bytes of data"));
  EXPECT_THAT(
      refusal("{" + entry("a", "U8", "[2]", "[18446744073709551615,18446744073709551615]") + "}",
              1),
      HasSubstr("data_offsets end at byte 18446744073709551615"));
}

TEST(ParseSafetensors, RefusesShapesWhoseProductOverflows) {
  // 2^32 * 2^32 elements would wrap to 0, 2^62 F64 elements to 0 bytes.
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[4294967296,4294967296]", "[0,0]") + "}", 0),
              HasSubstr("a: U8 [4294967296, 4294967296] has more bytes than can be counted"));
  EXPECT_THAT(refusal("{" + entry("a", "F64", "[4611686018427387904]", "[0,0]") + "}", 0),
              HasSubstr("more bytes than can be counted"));
}

TEST(ParseSafetensors, RefusesRangesThatDoNotFitTheShape) {
  EXPECT_THAT(refusal("{" + entry("a", "F32", "[2,2]", "[0,12]") + "}", 12),
              HasSubstr("a: F32 [2, 2] takes 16 bytes, data_offsets [0, 12] hold 12"));
}

TEST(ParseSafetensors, RefusesSmallFloatsThatEndInsideAByte) {
  EXPECT_THAT(refusal("{" + entry("a", "F4", "[3]", "[0,1]") + "}", 1),
              HasSubstr("a: F4 [3] does not fill whole bytes"));
}

TEST(ParseSafetensors, RefusesOverlaps) {
  EXPECT_THAT(
      refusal("{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("b", "U8", "[4]", "[3,7]") + "}",
              7),
      HasSubstr("b: begins at byte 3 of the data, which belongs to a up to byte 4"));
}

TEST(ParseSafetensors, RefusesTwoTensorsInOnePlace) {
  EXPECT_THAT(
      refusal("{" + entry("a", "U8", "[4]", "[0,4]") + "," + entry("b", "I8", "[4]", "[0,4]") + "}",
              4),
      HasSubstr("b: begins at byte 0 of the data, which belongs to a"));
}

TEST(ParseSafetensors, RefusesHoles) {
  EXPECT_THAT(
      refusal("{" + entry("a", "U8", "[1]", "[0,1]") + "," + entry("b", "U8", "[1]", "[2,3]") + "}",
              3),
      HasSubstr("b: begins at byte 2 of the data, but no tensor owns the bytes from 1 on"));
}

TEST(ParseSafetensors, RefusesBytesBehindTheLastTensor) {
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[1]", "[0,1]") + "}", 4),
              HasSubstr("model.safetensors: has 3 bytes behind its last tensor"));
}

TEST(ParseSafetensors, RefusesDepthBeforeTheStackRunsOut) {
  const std::string deep(100'000, '[');
  EXPECT_THAT(refusal("{\"a\":{\"extra\":" + deep + "}}", 0), HasSubstr("model.safetensors: "));
}

TEST(ParseSafetensors, WritesNoControlCharactersIntoMessages) {
  EXPECT_THAT(refusal("{" + entry("\\u001b[31m", "X", "[1]", "[0,1]") + "}", 1),
              HasSubstr(R"(\x1b[31m: has the unknown dtype X)"));
}

TEST(ReadSafetensorsHeader, AgreesWithTheBytesOfTheFile) {
  const testing::TempFolder folder;
  const std::string bytes =
      testing::safetensors_file("{" + entry("a", "U8", "[5]", "[0,5]") + "}", 5);
  const File file(folder.write("a.safetensors", bytes));
  const auto header = read_safetensors_header(file, 7);
  ASSERT_EQ(header.tensors.size(), 1U);
  EXPECT_EQ(header.tensors[0].file, 7U);
  EXPECT_EQ(header.tensors[0].offset, bytes.size() - 5);
}

TEST(ReadSafetensorsHeader, TakesHundredThousandTensorsWithoutPause) {
  std::string json = "{";
  for (int i = 0; i < 100'000; ++i) {
    if (i > 0) json += ',';
    json += entry(str_cat("model.layers.", i / 10, ".mlp.experts.", i % 10, ".gate_proj.weight"),
                  "U8", "[1]", str_cat('[', i, ',', i + 1, ']'));
  }
  const std::string file = testing::safetensors_file(json + "}", 100'000);
  const auto start = std::chrono::steady_clock::now();
  const auto header = parse_safetensors(testing::as_bytes(file), "model.safetensors");
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_EQ(header.tensors.size(), 100'000U);
  RecordProperty("milliseconds", static_cast<int>(elapsed.count() * 1e3));
  // Tens of milliseconds; anything quadratic in the number of tensors takes minutes.
  EXPECT_LT(elapsed.count(), 5.0);
}

}  // namespace
}  // namespace shoehorn
