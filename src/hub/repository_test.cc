#include "hub/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "hub/cache.h"

namespace shoehorn::hub {
namespace {

using ::testing::ElementsAre;

TEST(IsSafeFileName, RefusesWhatLeavesTheFolder) {
  for (const char* name : {"a", "a/b.json", ".gitattributes", "a b", "..a", "ü"}) {
    EXPECT_TRUE(is_safe_file_name(name)) << name;
  }
  for (const char* name : {"", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a\\b", "a\nb",
                           "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q"}) {
    EXPECT_FALSE(is_safe_file_name(name)) << name;
  }
  EXPECT_FALSE(is_safe_file_name(std::string(256, 'a')));
  EXPECT_FALSE(is_safe_file_name(std::string_view("a\0b", 3)));
}

TEST(ParseRepository, ReadsCommitAndFiles) {
  const Repository repository = parse_repository(
      R"({"sha": "abc123", "siblings": [{"rfilename": "b"}, {"rfilename": "a/x", "size": 3}]})",
      "o/n");
  EXPECT_EQ(repository.commit, "abc123");
  EXPECT_THAT(repository.files, ElementsAre("a/x", "b"));
}

TEST(ParseRepository, RefusesHostileAnswers) {
  for (const char* json :
       {"", "[]", "{}", R"({"sha": "..", "siblings": []})", R"({"sha": "../x", "siblings": []})",
        R"({"sha": "a", "siblings": [{"rfilename": "../../etc/passwd"}]})",
        R"({"sha": "a", "siblings": [{"rfilename": "/etc/passwd"}]})",
        R"({"sha": "a", "siblings": [{"rfilename": 5}]})", R"({"sha": "a", "siblings": ["x"]})",
        R"({"sha": "a", "siblings": {}})"}) {
    EXPECT_THROW(parse_repository(json, "o/n"), FormatError) << json;
  }
}

TEST(ParseShardNames, ReadsEveryFileOnce) {
  EXPECT_THAT(
      parse_shard_names(R"({"weight_map": {"a": "2.bin", "b": "1.bin", "c": "2.bin"}})", "i"),
      ElementsAre("1.bin", "2.bin"));
  for (const char* json : {"{}", R"({"weight_map": {"a": "../x"}})",
                           R"({"weight_map": {"a": "x/y"}})", R"({"weight_map": {"a": 1}})"}) {
    EXPECT_THROW(parse_shard_names(json, "i"), FormatError) << json;
  }
}

TEST(BlobName, TakesPlainNamesAlone) {
  EXPECT_EQ(blob_name("\"abc\""), "abc");
  EXPECT_EQ(blob_name("W/\"abc-1\""), "abc-1");
  EXPECT_EQ(blob_name("\"../x\""), "");
  EXPECT_EQ(blob_name("\"\""), "");
}

}  // namespace
}  // namespace shoehorn::hub
