#include "checkpoint/offload_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string refusal(const std::string& json) {
  return testing::message_of<FormatError>([&] { parse_offload_index(json, "index.json"); });
}

TEST(ParseOffloadIndex, ReadsDtypesAndShapes) {
  const auto entries = parse_offload_index(
      R"({"a.weight":{"dtype":"bfloat16","shape":[2,3]},"b":{"dtype":"int64","shape":[]}})", "i");
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].name, "a.weight");
  EXPECT_EQ(entries[0].dtype, DType::kBF16);
  EXPECT_EQ(entries[0].shape, (Shape{2, 3}));
  EXPECT_EQ(entries[1].dtype, DType::kI64);
  EXPECT_EQ(entries[1].shape, Shape{});
}

TEST(ParseOffloadIndex, RefusesNamesThatLeaveTheFolder) {
  for (const char* name : {"../w", "/w", "a/b", "", ".w"}) {
    const std::string json = std::string(R"({")") + name + R"(":{"dtype":"float32","shape":[1]}})";
    EXPECT_THAT(refusal(json), HasSubstr("does not name a file in the folder")) << name;
  }
}

TEST(ParseOffloadIndex, RefusesEntriesThatMakeNoSense) {
  EXPECT_THAT(refusal("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal("{"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal("{}"), HasSubstr("lists no tensors"));
  EXPECT_THAT(refusal(R"({"weight_map":"x"})"), HasSubstr("must be an object"));
  EXPECT_THAT(refusal(R"({"w":{"dtype":"float32"}})"), HasSubstr("index.json: w: has no dtype or"));
  EXPECT_THAT(refusal(R"({"w":{"dtype":"object","shape":[1]}})"), HasSubstr("dtype object"));
  EXPECT_THAT(refusal(R"({"w":{"dtype":"float32","shape":[-1]}})"), HasSubstr("not negative"));
  EXPECT_THAT(refusal(R"({"w":{"dtype":"float32","shape":[1.5]}})"), HasSubstr("not negative"));
  EXPECT_THAT(refusal(R"({"w":{"dtype":"float32","shape":[9223372036854775807,2]}})"),
              HasSubstr("more bytes than can be counted"));
  EXPECT_THAT(refusal(R"({"w":{"dtype":"float32","shape":[18446744073709551615]}})"),
              HasSubstr("not negative"));
}

class OffloadFolder : public ::testing::Test {
 protected:
  Checkpoint open() const { return open_checkpoint(folder_.path()); }
  const testing::TempFolder folder_;
};

TEST_F(OffloadFolder, IsOpenedAsACheckpoint) {
  folder_.write("config.json", "{}");
  folder_.write("index.json", R"({"a":{"dtype":"float32","shape":[2]},
                                  "b":{"dtype":"float16","shape":[]}})");
  folder_.write("a.dat", "abcdefgh");
  folder_.write("b.dat", "xy");
  const Checkpoint checkpoint = open();
  EXPECT_EQ(checkpoint.format(), "offload");
  std::string bytes(8, ' ');
  checkpoint.read(checkpoint.at("a"), std::as_writable_bytes(std::span(bytes)));
  EXPECT_EQ(bytes, "abcdefgh");
  EXPECT_EQ(checkpoint.at("b").bytes, 2U);
  EXPECT_NE(open_checkpoint(folder_.path() / "index.json").find("a"), nullptr);
}

TEST_F(OffloadFolder, ChecksTheLengthOfEveryFile) {
  folder_.write("index.json", R"({"a":{"dtype":"float32","shape":[2]}})");
  EXPECT_THAT(testing::message_of<FileError>([&] { open(); }), HasSubstr("a.dat"));
  for (const char* content : {"", "abcdefg", "abcdefghi"}) {
    folder_.write("a.dat", content);
    EXPECT_THAT(testing::message_of<FormatError>([&] { open(); }),
                AllOf(HasSubstr("a.dat: has "), HasSubstr("F32 [2], which takes 8")))
        << content;
  }
}

TEST_F(OffloadFolder, FollowsEntriesIntoSafetensors) {
  const std::string file =
      testing::safetensors_file(R"({"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", 3);
  const auto path = folder_.write("elsewhere/m.safetensors", file);
  folder_.write("index.json", R"({"a":{"safetensors_file":")" + path.string() +
                                  R"(","weight_name":"x","dtype":"uint8"},
                                  "x":{"safetensors_file":"elsewhere/m.safetensors"}})");
  EXPECT_EQ(open().at("a").bytes, 3U);
  EXPECT_EQ(open().at("x").offset, open().at("a").offset);
  folder_.write("index.json", R"({"a":{"safetensors_file":"elsewhere/m.safetensors"}})");
  EXPECT_THAT(testing::message_of<FormatError>([&] { open(); }), HasSubstr("has no tensor a"));
}

}  // namespace
}  // namespace shoehorn
