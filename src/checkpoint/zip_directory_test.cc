#include "checkpoint/zip_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"
#include "checkpoint/testing_torch.h"

namespace shoehorn {
namespace {

using ::testing::HasSubstr;
using testing::zip_file;
using testing::ZipPart;

ZipDirectory read(const std::string& file) {
  return ZipDirectory(source_of("a.bin", testing::as_bytes(file)));
}
template <typename E = FormatError>
std::string refusal(const std::string& file) {
  return testing::message_of<E>([&] { read(file); });
}

TEST(ZipDirectory, GivesTheBytesOfEveryEntry) {
  const std::string file = zip_file({{"a/one", "first"}, {"a/two", ""}, {"a/three", "xyz"}});
  const ZipDirectory zip = read(file);
  ASSERT_EQ(zip.entries().size(), 3U);
  const ZipEntry* three = zip.find("a/three");
  ASSERT_NE(three, nullptr);
  EXPECT_EQ(file.substr(three->offset, three->bytes), "xyz");
  EXPECT_EQ(zip.find("a/two")->bytes, 0U);
  EXPECT_EQ(zip.find("a/four"), nullptr);
}

TEST(ZipDirectory, ReadsZip64) {
  const std::string file = zip_file({{"a/one", "first"}, {"a/three", "xyz"}}, /*zip64=*/true);
  const ZipDirectory zip = read(file);
  const ZipEntry* three = zip.find("a/three");
  ASSERT_NE(three, nullptr);
  EXPECT_EQ(file.substr(three->offset, three->bytes), "xyz");
}

TEST(ZipDirectory, ReadsPastACommentAtTheEnd) {
  std::string file = zip_file({{"a", "x"}});
  file[file.size() - 2] = 5;
  EXPECT_NE(read(file + "hello").find("a"), nullptr);
}

TEST(ZipDirectory, RefusesAFileThatWasCutShort) {
  const std::string file = zip_file({{"a", "x"}});
  for (std::size_t bytes = 0; bytes < file.size(); ++bytes) {
    EXPECT_THROW(read(file.substr(0, bytes)), FormatError) << bytes;
  }
}

TEST(ZipDirectory, RefusesNamesThatLeaveTheArchive) {
  for (const char* name : {"../x", "a/../../x", "a/..", "/etc/passwd", "a\\b", ""}) {
    EXPECT_THROW(read(zip_file({{name, "x"}})), FormatError) << name;
  }
  EXPECT_THAT(refusal(zip_file({{"m/data/../../x", "x"}})),
              HasSubstr("a.bin: entry m/data/../../x"));
  EXPECT_NE(read(zip_file({{"a/..b", "x"}})).find("a/..b"), nullptr);
}

TEST(ZipDirectory, RefusesCompressedAndEncryptedEntries) {
  EXPECT_THAT(refusal<UnsupportedError>(zip_file({{.name = "a", .content = "x", .method = 8}})),
              HasSubstr("entry a: is compressed (method 8)"));
  EXPECT_THAT(refusal<UnsupportedError>(zip_file({{.name = "a", .content = "x", .flags = 1}})),
              HasSubstr("encrypted"));
}

TEST(ZipDirectory, RefusesEntriesThatShareBytes) {
  EXPECT_THAT(refusal(zip_file({{"a", "xxxx"}, {.name = "b", .content = "y", .local_offset = 0}})),
              HasSubstr("overlaps"));
  EXPECT_THAT(refusal(zip_file({{.name = "a", .content = "x", .claimed_bytes = 20}, {"b", "y"}})),
              HasSubstr("overlaps"));
}

TEST(ZipDirectory, RefusesSizesBeyondTheFile) {
  EXPECT_THAT(refusal(zip_file({{.name = "a", .content = "x", .claimed_bytes = 0x7FFFFFFF}})),
              HasSubstr("claims 2147483647 bytes"));
  EXPECT_THAT(refusal(zip_file({{.name = "a", .content = "x", .local_offset = 0x7FFFFFFF}})),
              HasSubstr("lies outside"));
}

TEST(ZipDirectory, RefusesAnEntryWithTwoNames) {
  EXPECT_THAT(refusal(zip_file({{.name = "a", .content = "x", .local_name = "b"}})),
              HasSubstr("calls itself b"));
}

TEST(ZipDirectory, RefusesANameThatIsThereTwice) {
  EXPECT_THAT(refusal(zip_file({{"a", "x"}, {"a", "y"}})), HasSubstr("twice"));
}

}  // namespace
}  // namespace shoehorn
