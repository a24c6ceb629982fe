#include "base/file.h"

#include <algorithm>
#include <array>
#include <fstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

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

constexpr std::size_t kPages = 64;

std::size_t pages_in_memory(const File& file) {
  void* const map = ::mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, file.fd(), 0);
  std::array<unsigned char, kPages> pages{};
  EXPECT_EQ(::mincore(map, file.size(), pages.data()), 0);
  ::munmap(map, file.size());
  return static_cast<std::size_t>(
      std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
}

TEST(File, DropsPagesAndReadsThemAgain) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::string text(kPages * page, 'x');
  const File file(write_file("dropped", text));
  ::fsync(file.fd());
  const auto read = [&] {
    std::string all(text.size(), '\0');
    file.read_at(0, std::as_writable_bytes(std::span(all)));
    return all;
  };
  ASSERT_EQ(read(), text);
  ::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
  if (pages_in_memory(file) > 0) GTEST_SKIP() << "this file system keeps its pages in memory";
  ASSERT_EQ(read(), text);
  ASSERT_GT(pages_in_memory(file), 0U);
  file.drop_pages(0, file.size());
  EXPECT_EQ(pages_in_memory(file), 0U);
  EXPECT_EQ(read(), text);
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
