#include "base/file.h"

#include <array>
#include <fstream>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

std::filesystem::path write_file(const std::string& name, const std::string& text) {
  const auto path = std::filesystem::path(::testing::TempDir()) / name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(File, ReadsAtAnOffset) {
  const File file(write_file("offset", "hello world"));
  std::array<std::byte, 5> out{};
  file.read_at(6, out);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(out.data()), 5), "world");
}

TEST(File, ReadsAgainWhatLeftThePageCache) {
  const std::string text(100'000, 'x');
  const File file(write_file("dropped", text));
  for (int i = 0; i < 2; ++i) {
    std::string read(text.size(), '\0');
    file.read_at(0, std::as_writable_bytes(std::span(read)));
    EXPECT_EQ(read, text);
    file.drop_pages(1, text.size() - 2);
  }
}

TEST(File, SaysHowManyBytesAreMissing) {
  const File file(write_file("short", "abc"));
  std::array<std::byte, 5> out{};
  try {
    file.read_at(1, out);
    FAIL() << "read past the end";
  } catch (const FileError& error) {
    EXPECT_NE(std::string(error.what()).find("3 bytes short"), std::string::npos) << error.what();
  }
}

TEST(File, RefusesFolders) {
  EXPECT_THROW(File{::testing::TempDir()}, FileError);
}

TEST(ReadTextFile, ReadsALargeFileWhole) {
  std::string text((std::size_t{5} << 20) + 1, '\0');  // more than one thread reads it
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + i / 4096);
  EXPECT_TRUE(read_text_file(write_file("large", text), text.size()) == text);
}

TEST(ReadTextFile, RefusesMoreThanItsLimit) {
  EXPECT_THROW(read_text_file(write_file("long", "abcdef"), 5), FileError);
}

}  // namespace
}  // namespace shoehorn
