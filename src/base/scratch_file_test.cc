#include "base/scratch_file.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

std::filesystem::path new_folder(const char* name) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / name;
  std::filesystem::remove_all(folder);
  return folder;
}

TEST(ScratchFile, ReadsWhatWasWrittenAndZerosElsewhere) {
  ScratchFile file(new_folder("scratch_read"), 100);
  const std::array bytes = {std::byte{1}, std::byte{2}, std::byte{3}};
  file.write(40, bytes);
  std::array<std::byte, 5> out{};
  file.read(39, out);
  EXPECT_THAT(out, ::testing::ElementsAre(std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3},
                                          std::byte{0}));
}

TEST(ScratchFile, HasNoName) {
  const auto folder = new_folder("scratch_name");
  const ScratchFile file(folder, 10);
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(ScratchFile, MovesWithItsBytes) {
  ScratchFile file(new_folder("scratch_move"), 10);
  const std::array one = {std::byte{7}};
  file.write(3, one);
  const ScratchFile moved = std::move(file);
  std::array<std::byte, 1> out{};
  moved.read(3, out);
  EXPECT_EQ(out[0], std::byte{7});
}

TEST(ScratchFile, EndsWhereItEnds) {
  const ScratchFile file(new_folder("scratch_end"), 10);
  std::array<std::byte, 4> out{};
  EXPECT_THROW(file.read(8, out), FileError);
}

TEST(ScratchFile, SaysWhatDidNotFit) {
  for (const std::uint64_t bytes :
       {std::uint64_t{1} << 60, std::numeric_limits<std::uint64_t>::max()}) {
    try {
      const ScratchFile file(new_folder("scratch_full"), bytes);
      FAIL() << "a drive of " << bytes << " bytes";
    } catch (const FileError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(std::to_string(bytes)));
    }
  }
}

TEST(ScratchFile, RefusesAFolderThatIsNone) {
  EXPECT_THROW(ScratchFile("/proc/no-folder", 1), FileError);
}

}  // namespace
}  // namespace shoehorn
