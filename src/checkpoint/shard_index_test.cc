#include "checkpoint/shard_index.h"

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
using ::testing::Not;
using ::testing::Pair;

constexpr const char* kName = "model.safetensors.index.json";

std::string refusal(const std::string& json) {
  return testing::message_of<FormatError>([&] { parse_shard_index(json, kName); });
}

// One U8 [1] tensor of that name.
std::string one_tensor_file(std::string_view name) {
  return testing::safetensors_file(
      str_cat(R"({")", name, R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})"), 1);
}

std::vector<std::string> names_of(const Checkpoint::Parts& parts) {
  std::vector<std::string> names;
  for (const TensorInfo& info : parts.tensors) names.push_back(info.name);
  return names;
}

TEST(ParseShardIndex, ReadsTheWeightMap) {
  const auto index = parse_shard_index(
      R"({"metadata":{"total_size":8},"weight_map":{"w":"2.safetensors","v":"1.safetensors"}})",
      kName);
  EXPECT_THAT(index.shards, ElementsAre("1.safetensors", "2.safetensors"));
  EXPECT_THAT(index.weight_map, ElementsAre(Pair("w", 1), Pair("v", 0)));
}

TEST(ParseShardIndex, ReadsAMapAtTopLevel) {
  const auto index = parse_shard_index(R"({"w":"a.safetensors"})", kName);
  EXPECT_THAT(index.weight_map, ElementsAre(Pair("w", 0)));
}

TEST(ParseShardIndex, TakesTwoSpellingsOfAFileForOne) {
  const auto index = parse_shard_index(R"({"v":"./a.safetensors","w":"a.safetensors"})", kName);
  EXPECT_THAT(index.shards, ElementsAre("a.safetensors"));
}

TEST(ParseShardIndex, AcceptsFilesInSubfolders) {
  const auto index = parse_shard_index(R"({"w":"shards/a..b.safetensors"})", kName);
  EXPECT_THAT(index.shards, ElementsAre("shards/a..b.safetensors"));
}

TEST(ParseShardIndex, RefusesNamesThatLeaveTheFolder) {
  for (const char* name : {"../a.safetensors", "x/../../a.safetensors", "/etc/passwd", "..", "",
                           "a.safetensors\\u0000"}) {
    EXPECT_THAT(refusal(str_cat(R"({"weight_map":{"lm_head.weight":")", name, "\"}}")),
                AllOf(HasSubstr(kName), HasSubstr("lm_head.weight: its file"),
                      HasSubstr("does not name a file in the folder")))
        << name;
  }
}

TEST(ParseShardIndex, KnowsPyTorchShardsByTheirNames) {
  EXPECT_TRUE(parse_shard_index(R"({"weight_map":{"w":"a.bin"}})", kName).is_torch);
  EXPECT_FALSE(parse_shard_index(R"({"weight_map":{"w":"a.safetensors"}})", kName).is_torch);
}

TEST(ParseShardIndex, RefusesShardsOfTwoKinds) {
  EXPECT_THAT(refusal(R"({"weight_map":{"v":"a.safetensors","w":"b.bin"}})"),
              HasSubstr("two kinds: a.safetensors and b.bin"));
}

TEST(ParseShardIndex, RefusesATensorListedTwice) {
  EXPECT_THAT(refusal(R"({"weight_map":{"w":"a.safetensors","w":"b.safetensors"}})"),
              HasSubstr("w: is listed twice"));
}

TEST(ParseShardIndex, RefusesTwoWeightMaps) {
  EXPECT_THAT(refusal(R"({"weight_map":{"w":"a.safetensors"},"weight_map":{}})"),
              HasSubstr("has weight_map twice"));
}

TEST(ParseShardIndex, RefusesWhatIsNotAMapOfStrings) {
  EXPECT_THAT(refusal(R"({"weight_map":{"w":3}})"), HasSubstr("w: its file must be a string"));
  EXPECT_THAT(refusal(R"({"weight_map":["w"]})"), HasSubstr("weight_map must be an object"));
  EXPECT_THAT(refusal(R"({"a":"a.safetensors","hidden_size":8})"),
              HasSubstr("the value of hidden_size is not a file name"));
}

TEST(ParseShardIndex, RefusesAnIndexOfNothing) {
  EXPECT_THAT(refusal(R"({"weight_map":{}})"), HasSubstr("lists no tensors"));
  EXPECT_THAT(refusal("{}"), HasSubstr("lists no tensors"));
}

TEST(ParseShardIndex, RefusesBrokenJson) {
  for (const char* json : {"", " ", "[]", "3", "null", "\"a\"", "{\"weight_map\":{\"w\":\"a\"}",
                           "{\"weight_map\":{\"w\" \"a\"}}", "{\"w\":\"a\"}{}", "{\"w\":\"a\"} x",
                           "{\"w\":\"\\q\"}", "{\"w\xff\":\"a\"}", "{"}) {
    EXPECT_THAT(refusal(json), HasSubstr(kName)) << json;
  }
}

TEST(OpenShardIndex, LoadsTensorsThatAreNotListed) {
  const testing::TempFolder folder;
  folder.write("1.safetensors", one_tensor_file("listed"));
  folder.write(
      "2.safetensors",
      testing::safetensors_file(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                R"("unlisted":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                                3));
  const auto parts = open_shards(
      folder.write(kName, R"({"weight_map":{"listed":"1.safetensors","w":"2.safetensors"}})"));
  EXPECT_THAT(names_of(parts), ElementsAre("listed", "w", "unlisted"));
  EXPECT_EQ(parts.tensors[2].file, 1U);
}

TEST(OpenShardIndex, FollowsSymbolicLinksOutOfTheFolder) {
  const testing::TempFolder blobs;
  const testing::TempFolder folder;
  std::filesystem::create_symlink(blobs.write("0123abcd", one_tensor_file("w")),
                                  folder.path() / "1.safetensors");
  const auto parts = open_shards(folder.write(kName, R"({"weight_map":{"w":"1.safetensors"}})"));
  EXPECT_THAT(names_of(parts), ElementsAre("w"));
}

TEST(OpenShardIndex, NamesEveryAbsentFileAndATensorOfIt) {
  const testing::TempFolder folder;
  folder.write("1.safetensors", one_tensor_file("a"));
  const auto path = folder.write(
      kName, R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"3.safetensors"}})");
  EXPECT_THAT(
      testing::message_of<FormatError>([&] { open_shards(path); }),
      AllOf(HasSubstr("2.safetensors, which should hold b"),
            HasSubstr("3.safetensors, which should hold c"), Not(HasSubstr("1.safetensors,"))));
}

TEST(OpenShardIndex, NamesEveryTensorThatIsNotInItsShard) {
  const testing::TempFolder folder;
  folder.write("1.safetensors", one_tensor_file("a"));
  folder.write("2.safetensors", one_tensor_file("b"));
  const auto path = folder.write(
      kName, R"({"weight_map":{"a":"1.safetensors","b":"1.safetensors","c":"2.safetensors"}})");
  EXPECT_THAT(testing::message_of<FormatError>([&] { open_shards(path); }),
              AllOf(HasSubstr(kName), HasSubstr("b: is not in 1.safetensors but in 2.safetensors"),
                    HasSubstr("c: is not in 2.safetensors")));
}

TEST(OpenShardIndex, RefusesATensorThatTwoShardsHold) {
  const testing::TempFolder folder;
  folder.write("1.safetensors", one_tensor_file("w"));
  folder.write("2.safetensors", one_tensor_file("w"));
  const auto path =
      folder.write(kName, R"({"weight_map":{"w":"1.safetensors","v":"2.safetensors"}})");
  EXPECT_THAT(testing::message_of<FormatError>([&] { open_shards(path); }),
              AllOf(HasSubstr("2.safetensors: w: is also in 1.safetensors")));
}

TEST(OpenShardIndex, NamesTheShardThatIsTruncated) {
  const testing::TempFolder folder;
  const std::string whole = one_tensor_file("w");
  folder.write("1.safetensors", whole.substr(0, whole.size() - 1));
  const auto path = folder.write(kName, R"({"weight_map":{"w":"1.safetensors"}})");
  EXPECT_THAT(testing::message_of<FormatError>([&] { open_shards(path); }),
              HasSubstr("1.safetensors: w: data_offsets end at byte 1"));
}

}  // namespace
}  // namespace shoehorn
