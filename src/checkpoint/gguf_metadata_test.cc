#include "checkpoint/gguf_metadata.h"

#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/gguf_reader.h"
#include "checkpoint/testing_files.h"
#include "checkpoint/testing_gguf.h"

namespace shoehorn::gguf {
namespace {

using ::testing::ElementsAre;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::le_bytes;
using testing::message_of;

Metadata metadata_of(const GgufBuilder& builder) {
  const std::string file = builder.build();
  return read_header(source_of("model.gguf", testing::as_bytes(file))).metadata;
}

TEST(Metadata, ReadsEveryIntegerType) {
  GgufBuilder builder;
  builder.value("u8", ValueType::kUint8, le_bytes<std::uint8_t>(200))
      .value("i8", ValueType::kInt8, le_bytes<std::int8_t>(100))
      .value("u16", ValueType::kUint16, le_bytes<std::uint16_t>(60000))
      .value("i16", ValueType::kInt16, le_bytes<std::int16_t>(30000))
      .value("u32", ValueType::kUint32, le_bytes<std::uint32_t>(4000000000))
      .value("i32", ValueType::kInt32, le_bytes<std::int32_t>(2000000000))
      .value("u64", ValueType::kUint64, le_bytes<std::uint64_t>(1ULL << 40))
      .value("i64", ValueType::kInt64, le_bytes<std::int64_t>(1LL << 41));
  const Metadata metadata = metadata_of(builder);
  EXPECT_EQ(metadata.at_uint("u8"), 200U);
  EXPECT_EQ(metadata.at_uint("i8"), 100U);
  EXPECT_EQ(metadata.at_uint("u16"), 60000U);
  EXPECT_EQ(metadata.at_uint("i16"), 30000U);
  EXPECT_EQ(metadata.at_uint("u32"), 4000000000U);
  EXPECT_EQ(metadata.at_uint("i32"), 2000000000U);
  EXPECT_EQ(metadata.at_uint("u64"), 1ULL << 40);
  EXPECT_EQ(metadata.at_uint("i64"), 1ULL << 41);
}

TEST(Metadata, RefusesNegativeAndHugeIntegers) {
  GgufBuilder builder;
  builder.value("minus", ValueType::kInt32, le_bytes<std::int32_t>(-1))
      .value("huge", ValueType::kUint64, le_bytes(std::numeric_limits<std::uint64_t>::max()));
  const Metadata metadata = metadata_of(builder);
  EXPECT_THAT(message_of<FormatError>([&] { metadata.find_uint("minus"); }),
              HasSubstr("model.gguf: minus: the value is negative"));
  EXPECT_THROW(metadata.find_uint("huge"), FormatError);
}

TEST(Metadata, GivesAFloatTheDecimalItWasMadeFrom) {
  GgufBuilder builder;
  builder.float32("eps", 1e-5F).value("exact", ValueType::kFloat64, le_bytes(0.1));
  const Metadata metadata = metadata_of(builder);
  EXPECT_EQ(metadata.at_double("eps"), 1e-5);
  EXPECT_EQ(metadata.at_double("exact"), 0.1);
}

TEST(Metadata, TakesAnIntegerWhereANumberIsWanted) {
  EXPECT_EQ(metadata_of(GgufBuilder().uint32("theta", 10000)).at_double("theta"), 10000.0);
}

TEST(Metadata, ReadsArrays) {
  GgufBuilder builder;
  builder.strings("words", {"", "b", "long one"})
      .int32s("ints", {-1, 7})
      .float32s("floats", {0.5F});
  const Metadata metadata = metadata_of(builder);
  EXPECT_THAT(*metadata.find_strings("words"), ElementsAre("", "b", "long one"));
  EXPECT_THAT(*metadata.find_ints("ints"), ElementsAre(-1, 7));
  EXPECT_THAT(*metadata.find_floats("floats"), ElementsAre(0.5F));
  EXPECT_THAT(*metadata.find_floats("ints"), ElementsAre(-1.0F, 7.0F));
}

TEST(Metadata, AbsenceIsNoError) {
  const Metadata metadata = metadata_of(GgufBuilder());
  EXPECT_FALSE(metadata.find_uint("k"));
  EXPECT_FALSE(metadata.find_strings("k"));
  EXPECT_FALSE(metadata.has("k"));
}

TEST(Metadata, AtNamesTheMissingKey) {
  const Metadata metadata = metadata_of(GgufBuilder());
  EXPECT_THAT(message_of<FormatError>([&] { metadata.at_string("general.architecture"); }),
              HasSubstr("metadata key general.architecture is missing"));
}

TEST(Metadata, NamesWhatItExpectedAndFound) {
  GgufBuilder builder;
  builder.string("text", "1").strings("words", {"a"});
  const Metadata metadata = metadata_of(builder);
  EXPECT_THAT(message_of<FormatError>([&] { metadata.find_uint("text"); }),
              HasSubstr("text: expected an integer, found string"));
  EXPECT_THAT(message_of<FormatError>([&] { metadata.find_string("words"); }),
              HasSubstr("words: expected a string, found array of string"));
  EXPECT_THAT(message_of<FormatError>([&] { metadata.find_ints("words"); }),
              HasSubstr("words: expected an array of integers, found array of string"));
}

TEST(Metadata, RefusesTextThatIsNotUtf8) {
  const Metadata metadata = metadata_of(GgufBuilder().string("text", "\xC3"));
  EXPECT_THAT(message_of<FormatError>([&] { metadata.find_string("text"); }),
              HasSubstr("text: the string is not UTF-8"));
}

}  // namespace
}  // namespace shoehorn::gguf
