#include "base/disk_probe.h"

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "base/fake_root.h"

namespace shoehorn {
namespace {

using ::testing::HasSubstr;

constexpr std::size_t kMiB = 1 << 20;

// Small enough that it takes milliseconds; files of tests lie where direct reads may be refused.
constexpr IoMode kSmallReads{.read_bytes = kMiB / 4, .reads_in_flight = 4};

TEST(MeasureDiskRead, ReadsEveryWholePieceOfAFileOnce) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB + 100, 'w'));
  const File file(folder.path() / "weights");
  for (const bool direct : {true, false}) {
    IoMode io = kSmallReads;
    io.direct = direct;
    const DiskRate rate = measure_disk_read(file, io);
    EXPECT_EQ(rate.bytes, 3 * kMiB);
    EXPECT_GT(rate.seconds, 0);
    EXPECT_DOUBLE_EQ(rate.bytes_per_s(), 3.0 * kMiB / rate.seconds);
  }
}

TEST(MeasureDiskRead, ReadsASmallFileAgainWhereAskedTo) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  const File file(folder.path() / "weights");
  EXPECT_EQ(measure_disk_read(file, kSmallReads, {.least_bytes = 8 * kMiB - 5}).bytes, 8 * kMiB);
}

TEST(MeasureDiskRead, ReadsAtMostWhatItMay) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  const File file(folder.path() / "weights");
  EXPECT_EQ(measure_disk_read(file, kSmallReads, {.max_bytes = kMiB}).bytes, kMiB);
  EXPECT_EQ(measure_disk_read(file, kSmallReads, {.max_seconds = 0}).bytes, 0U);
}

TEST(MeasureDiskRead, AFileSmallerThanAReadIsReadWhole) {
  FakeRoot folder;
  folder.write("weights", std::string(kMiB / 8 + 100, 'w'));
  const File file(folder.path() / "weights");
  EXPECT_EQ(measure_disk_read(file, kSmallReads).bytes, kMiB / 8);
}

TEST(MeasureDiskRead, NothingLargeEnoughIsAnError) {
  FakeRoot folder;
  folder.write("config.json", "{}");
  const File file(folder.path() / "config.json");
  try {
    measure_disk_read(file, kSmallReads);
    FAIL() << "no error";
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr("expected at least 4096 bytes"));
  }
}

TEST(MeasureDiskRead, AFileThatWasCutIsAnErrorThatNamesTheByte) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  const File file(folder.path() / "weights");
  std::filesystem::resize_file(folder.path() / "weights", kMiB / 8);
  EXPECT_THROW(measure_disk_read(file, kSmallReads), FileError);
}

TEST(TimeReads, GoAroundWithinTheirRange) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  const File file(folder.path() / "weights");
  const TimedReads what{
      .begin = kMiB, .end = 2 * kMiB, .first = 2 * kMiB - kMiB / 4, .bytes = 2 * kMiB};
  EXPECT_EQ(time_reads(file, kSmallReads, what).bytes, 2 * kMiB);
}

TEST(MeasureDiskLatency, IsThatOfSmallReads) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  const double latency_s = measure_disk_latency(File(folder.path() / "weights"), kSmallReads);
  EXPECT_GT(latency_s, 0);
  EXPECT_LT(latency_s, 1);
  folder.write("few", "bytes");
  EXPECT_THROW(measure_disk_latency(File(folder.path() / "few"), kSmallReads), FileError);
}

}  // namespace
}  // namespace shoehorn
