#include "checkpoint/gguf_reader.h"

#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"
#include "checkpoint/testing_gguf.h"

namespace shoehorn::gguf {
namespace {

using ::testing::AllOf;
using testing::as_bytes;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::le_bytes;
using testing::message_of;

constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kQ8_0 = 8;

Header read(const std::string& file) {
  return read_header(source_of("model.gguf", as_bytes(file)));
}

std::string format_error(const std::string& file) {
  return message_of<FormatError>([&] { read(file); });
}
std::string unsupported_error(const std::string& file) {
  return message_of<UnsupportedError>([&] { read(file); });
}

TEST(ReadHeader, GivesTensorsWithReversedShapesAndFileOffsets) {
  GgufBuilder builder;
  builder.tensor("a", {4, 3}, kF32, 64).tensor("b", {32, 2}, kQ8_0, 128);
  const std::string file = builder.build(196);
  const Header header = read(file);
  const std::uint64_t data = file.size() - 196;
  ASSERT_EQ(header.tensors.size(), 2U);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].shape, Shape({3, 4}));
  EXPECT_EQ(header.tensors[0].offset, data + 64);
  EXPECT_EQ(header.tensors[0].bytes, 48U);
  EXPECT_EQ(header.tensors[1].dtype, DType::kQ8_0);
  EXPECT_EQ(header.tensors[1].bytes, 68U);
}

TEST(ReadHeader, ReadsVersionTwoAlike) {
  GgufBuilder builder;
  builder.version(2).tensor("a", {4}, kF32, 0);
  EXPECT_EQ(read(builder.build(16)).version, 2U);
}

TEST(ReadHeader, TakesTheAlignmentOfTheFile) {
  GgufBuilder builder;
  builder.uint32("general.alignment", 8).tensor("a", {2}, kF32, 0).tensor("b", {2}, kF32, 8);
  EXPECT_EQ(read(builder.build(16)).tensors[1].offset % 8, 0U);
}

TEST(ReadHeader, OrdersTensorsByOffset) {
  GgufBuilder builder;
  builder.tensor("late", {8}, kF32, 32).tensor("early", {8}, kF32, 0);
  EXPECT_EQ(read(builder.build(64)).tensors[0].name, "early");
}

TEST(ReadHeader, AllowsEmptyTensors) {
  GgufBuilder builder;
  builder.tensor("none", {0, 5}, kF32, 0).tensor("some", {8}, kF32, 0);
  EXPECT_EQ(read(builder.build(32)).tensors.size(), 2U);
}

// Every prefix of a sound file breaks off somewhere: each must be told, none may crash.
TEST(ReadHeader, RefusesEveryTruncation) {
  GgufBuilder builder;
  builder.string("k", "text").int32s("list", {1, 2, 3}).strings("words", {"a", "bc"});
  builder.tensor("a", {4, 3}, kF32, 0);
  const std::string file = builder.build(48);
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_THROW(read(file.substr(0, size)), FormatError) << size;
  }
  read(file);
}

TEST(ReadHeader, RefusesWhatIsNotGguf) {
  EXPECT_THAT(format_error("GGML0000000000000000"), HasSubstr("model.gguf: is no GGUF file"));
}

TEST(ReadHeader, RefusesVersionOne) {
  EXPECT_THAT(unsupported_error(GgufBuilder().version(1).build()),
              HasSubstr("is GGUF version 1; supported are 2 and 3"));
}

TEST(ReadHeader, RefusesBigEndianFiles) {
  EXPECT_THAT(unsupported_error(GgufBuilder().version(0x03000000).build()),
              HasSubstr("big-endian"));
}

TEST(ReadHeader, RefusesMoreKeysThanTheFileHolds) {
  EXPECT_THAT(format_error(GgufBuilder().claim_keys(1ULL << 60).build()),
              HasSubstr("claims 1152921504606846976 metadata keys"));
}

TEST(ReadHeader, RefusesMoreTensorsThanTheFileHolds) {
  EXPECT_THAT(format_error(GgufBuilder().claim_tensors(std::uint64_t{0} - 1).build()),
              HasSubstr("claims 18446744073709551615 tensors"));
}

TEST(ReadHeader, RefusesStringsLongerThanTheFile) {
  GgufBuilder builder;
  builder.value("k", ValueType::kString, le_bytes(std::uint64_t{0} - 8));
  EXPECT_THAT(format_error(builder.build()), HasSubstr("ends inside k"));
}

TEST(ReadHeader, RefusesArraysLongerThanTheFile) {
  for (const ValueType element :
       {ValueType::kUint64, ValueType::kString, ValueType::kArray, ValueType::kBool}) {
    GgufBuilder builder;
    builder.array("list", element, 1ULL << 61, "");
    EXPECT_THAT(format_error(builder.build()),
                HasSubstr("list: an array of 2305843009213693952 elements does not fit"));
  }
}

/// `depth` arrays of one array each, an empty array of numbers inside.
std::string nested_arrays(int depth) {
  std::string value = le_bytes(std::uint32_t{0}) + le_bytes(std::uint64_t{0});
  for (int i = 1; i < depth; ++i) {
    value = le_bytes(std::uint32_t{9}) + le_bytes(std::uint64_t{1}) + value;
  }
  return value;
}

TEST(ReadHeader, ReadsArraysOfArrays) {
  GgufBuilder builder;
  builder.value("deep", ValueType::kArray, nested_arrays(8)).uint32("after", 5);
  EXPECT_EQ(read(builder.build()).metadata.at_uint("after"), 5U);
}

TEST(ReadHeader, RefusesArraysNestedTooDeep) {
  GgufBuilder builder;
  builder.value("deep", ValueType::kArray, nested_arrays(1000));
  EXPECT_THAT(format_error(builder.build()), HasSubstr("deep: arrays nested more than 8 deep"));
}

TEST(ReadHeader, RefusesUnknownValueTypes) {
  EXPECT_THAT(format_error(GgufBuilder().raw("odd", 13, "").build()),
              HasSubstr("odd: value type 13 does not exist"));
}

TEST(ReadHeader, RefusesBoolsThatAreNeither) {
  GgufBuilder builder;
  builder.value("flag", ValueType::kBool, "\2");
  EXPECT_THAT(format_error(builder.build()), HasSubstr("flag: a bool is neither 0 nor 1"));
}

TEST(ReadHeader, RefusesDuplicateKeys) {
  GgufBuilder builder;
  builder.uint32("same", 1).uint32("same", 2);
  EXPECT_THAT(format_error(builder.build()), HasSubstr("metadata key same appears twice"));
}

TEST(ReadHeader, RefusesDuplicateTensors) {
  GgufBuilder builder;
  builder.tensor("same", {8}, kF32, 0).tensor("same", {8}, kF32, 32);
  EXPECT_THAT(format_error(builder.build(64)), HasSubstr("two tensors are named same"));
}

TEST(ReadHeader, RefusesEmptyAndEndlessNames) {
  EXPECT_THAT(format_error(GgufBuilder().tensor("", {8}, kF32, 0).build(32)),
              HasSubstr("a tensor's name has 0 bytes"));
  EXPECT_THAT(format_error(GgufBuilder().uint32(std::string(70000, 'k'), 1).build()),
              HasSubstr("a metadata key has 70000 bytes"));
}

TEST(ReadHeader, RefusesShapesWhoseProductOverflows) {
  GgufBuilder builder;
  builder.tensor("huge", {1ULL << 32, 1ULL << 32}, kF32, 0);
  EXPECT_THAT(format_error(builder.build(32)), AllOf(HasSubstr("huge"), HasSubstr("overflows")));
}

TEST(ReadHeader, RefusesShapesWhoseBytesOverflow) {
  GgufBuilder builder;
  builder.tensor("huge", {1ULL << 62}, kF32, 0);
  EXPECT_THAT(format_error(builder.build(32)), AllOf(HasSubstr("huge"), HasSubstr("overflows")));
}

TEST(ReadHeader, RefusesDimensionsBeyond63Bits) {
  GgufBuilder builder;
  builder.tensor("huge", {1ULL << 63}, kF32, 0);
  EXPECT_THAT(format_error(builder.build(32)), HasSubstr("huge: dimension 9223372036854775808"));
}

TEST(ReadHeader, RefusesFiveDimensions) {
  GgufBuilder builder;
  builder.tensor("deep", {1, 1, 1, 1, 1}, kF32, 0);
  EXPECT_THAT(format_error(builder.build(32)), HasSubstr("deep has 5 dimensions; 4 are allowed"));
}

TEST(ReadHeader, RefusesRowsOfIncompleteBlocks) {
  GgufBuilder builder;
  builder.tensor("w", {16, 2}, kQ8_0, 0);
  EXPECT_THAT(format_error(builder.build(64)),
              HasSubstr("w [2, 16]: rows of Q8_0 are multiples of 32"));
}

TEST(ReadHeader, RefusesRangesBeyondTheFile) {
  EXPECT_THAT(format_error(GgufBuilder().tensor("w", {8}, kF32, 32).build(32)),
              HasSubstr("tensor w: its 32 bytes at offset 32 of the data reach beyond"));
  const std::uint64_t wraps = std::uint64_t{0} - 32;
  EXPECT_THAT(format_error(GgufBuilder().tensor("w", {8}, kF32, wraps).build(32)),
              HasSubstr("reach beyond"));
}

TEST(ReadHeader, RefusesOverlaps) {
  GgufBuilder builder;
  builder.tensor("first", {16}, kF32, 0).tensor("second", {8}, kF32, 32);
  EXPECT_THAT(format_error(builder.build(96)), HasSubstr("tensors first and second overlap"));
}

TEST(ReadHeader, RefusesOffsetsOffTheAlignment) {
  GgufBuilder builder;
  builder.tensor("w", {8}, kF32, 16);
  EXPECT_THAT(format_error(builder.build(64)), HasSubstr("offset 16 is not a multiple of 32"));
}

TEST(ReadHeader, RefusesAlignmentsThatAreNoPowerOfTwo) {
  for (const std::uint32_t alignment : {0U, 24U, 0x80000000U}) {
    EXPECT_THAT(format_error(GgufBuilder().uint32("general.alignment", alignment).build()),
                HasSubstr("is not a power of two"));
  }
}

TEST(ReadHeader, NamesTypeAndTensorItDoesNotKnow) {
  EXPECT_THAT(unsupported_error(GgufBuilder().tensor("w", {256}, 16, 0).build(128)),
              AllOf(HasSubstr("tensor w is stored as type IQ2_XXS"), HasSubstr("Q4_K")));
  EXPECT_THAT(unsupported_error(GgufBuilder().tensor("w", {256}, 777, 0).build(128)),
              HasSubstr("tensor w is stored as type number 777"));
}

TEST(ReadHeader, PrintsHostileNamesSafely) {
  EXPECT_THAT(format_error(GgufBuilder().tensor("a\x1b[31m", {8}, kF32, 16).build(64)),
              HasSubstr("a\\x1b[31m"));
  EXPECT_THAT(format_error(GgufBuilder().tensor("\xFF", {8}, kF32, 0).build(32)),
              HasSubstr("is not UTF-8"));
}

// A source that only says how large it is: the header must be refused before anything that size is
// allocated or read.
TEST(ReadHeader, ReadsNoMoreThanAHeaderMayTake) {
  const std::uint64_t size = std::uint64_t{1} << 50;
  std::uint64_t most = 0;
  const ByteSource source = {.path = "model.gguf",
                             .size = size,
                             .read_at = [&](std::uint64_t offset, std::span<std::byte> out) {
                               most = std::max<std::uint64_t>(most, offset + out.size());
                               std::fill(out.begin(), out.end(), std::byte{0});
                               GgufBuilder builder;
                               builder.value("k", ValueType::kString, le_bytes(size / 2));
                               const std::string file = builder.build();
                               for (std::size_t i = 0; i < file.size() && offset == 0; ++i) {
                                 out[i] = static_cast<std::byte>(file[i]);
                               }
                             }};
  EXPECT_THAT(message_of<FormatError>([&] { read_header(source); }),
              HasSubstr("the header is larger than 256 MiB"));
  EXPECT_LE(most, std::uint64_t{1} << 29);
}

}  // namespace
}  // namespace shoehorn::gguf
