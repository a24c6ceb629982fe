#include "base/drive_choice.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "base/fake_root.h"

namespace shoehorn {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kLine = "1 254:0-8d1f uring-direct 2097152 8 1500000000 2026-11-26\n";

TEST(ParseDriveChoices, ReadsALine) {
  const auto choices = parse_drive_choices(kLine);
  ASSERT_THAT(choices, SizeIs(1));
  EXPECT_EQ(choices[0].device, "254:0-8d1f");
  EXPECT_EQ(choices[0].io, (IoMode{true, true, 2097152, 8}));
  EXPECT_EQ(choices[0].bytes_per_s, 1.5e9);
  EXPECT_EQ(choices[0].date, "2026-11-26");
}

TEST(ParseDriveChoices, LeavesOutWhatIsNoChoice) {
  for (const std::string line :
       {"2 254:0-8d1f uring-direct 2097152 8 1500000000 2026-11-26",  // of a later version
        "1 254:0-8d1f mmap 2097152 8 1500000000 2026-11-26",
        "1 254:0-8d1f uring-direct 1000 8 1500000000 2026-11-26",  // no whole blocks
        "1 254:0-8d1f uring-direct 0 8 1500000000 2026-11-26",
        "1 254:0-8d1f uring-direct 8796093022208 8 1500000000 2026-11-26",
        "1 254:0-8d1f uring-direct 2097152 0 1500000000 2026-11-26",
        "1 254:0-8d1f uring-direct 2097152 100000 1500000000 2026-11-26",
        "1 254:0-8d1f uring-direct 2097152 8 -1 2026-11-26", "1 254:0-8d1f uring-direct 2097152 8",
        "", "\xff\xfe"}) {
    EXPECT_THAT(parse_drive_choices(line), IsEmpty()) << line;
    EXPECT_THAT(parse_drive_choices(line + "\n" + kLine), SizeIs(1)) << line;
  }
}

TEST(ProbeAndRemember, WhatWasFoundIsReadBackAndReplacesWhatWasThere) {
  FakeRoot folder;
  folder.write("weights", std::string(8 << 20, 'w'));
  const File file(folder.path() / "weights");
  const auto path = folder.path() / "cache" / "drives";
  const DriveChoice first = probe_and_remember(file, path);
  EXPECT_GT(first.bytes_per_s, 0);
  const auto kept = read_drive_choices(path);
  ASSERT_THAT(kept, SizeIs(1));
  EXPECT_EQ(kept[0].io, first.io);
  EXPECT_EQ(kept[0].device, first.device);
  EXPECT_EQ(kept[0].date, first.date);
  probe_and_remember(file, path);
  EXPECT_THAT(read_drive_choices(path), SizeIs(1));
  EXPECT_EQ(choose_io(file, path), read_drive_choices(path)[0].io);
}

TEST(ChooseIo, ASmallFileIsReadTheDefaultWayWithoutAProbe) {
  FakeRoot folder;
  folder.write("weights", "small");
  EXPECT_EQ(choose_io(File(folder.path() / "weights"), folder.path() / "drives"), IoMode{});
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "drives"));
}

TEST(ChooseIo, AnOldProbeIsNotTakenForTodays) {
  FakeRoot folder;
  folder.write("weights", std::string(8 << 20, 'w'));
  const File file(folder.path() / "weights");
  DriveChoice choice = probe_drive(file);
  for (const char* date : {"2020-01-01", "9999-01-01"}) {
    std::ofstream(folder.path() / "drives")
        << "1 " << choice.device << " pread-buffered 4096 3 1000 " << date << "\n";
    EXPECT_EQ(choose_io(file, folder.path() / "drives"), IoMode{}) << date;
  }
  std::ofstream(folder.path() / "drives")
      << "1 " << choice.device << " pread-buffered 4096 3 1000 " << choice.date << "\n";
  EXPECT_EQ(choose_io(file, folder.path() / "drives"), (IoMode{false, false, 4096, 3}));
}

TEST(ForcedIoMode, TakesFourNamesAndNoOther) {
  for (const char* name : {"uring-direct", "uring-buffered", "pread-direct", "pread-buffered"}) {
    ::setenv("SHOEHORN_IO", name, 1);
    EXPECT_EQ(path_name(forced_io_mode().value()), name);
  }
  ::setenv("SHOEHORN_IO", "mmap", 1);
  EXPECT_THROW(forced_io_mode(), ArgumentError);
  ::unsetenv("SHOEHORN_IO");
  EXPECT_EQ(forced_io_mode(), std::nullopt);
}

}  // namespace
}  // namespace shoehorn
