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

// Small enough that it takes milliseconds.
DiskProbeOptions small_probe(std::uint64_t max_bytes = 64 * kMiB) {
  return {.max_bytes = max_bytes, .max_seconds = 0.5, .read_bytes = kMiB / 4, .reads_in_flight = 4};
}

TEST(ProbeDisk, ReadsEveryWholePieceOfAFileOnce) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB + 100, 'w'));
  EXPECT_EQ(probe_disk(folder.path() / "weights", small_probe()).drive.bytes, 3 * kMiB);
}

TEST(ProbeDisk, ReadsASmallFileAgainWhereAskedTo) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  DiskProbeOptions options = small_probe();
  options.least_bytes = 8 * kMiB;
  const DiskProbe probe = probe_disk(folder.path() / "weights", options);
  EXPECT_EQ(probe.drive.bytes, (probe.direct ? 9 : 3) * kMiB);
}

TEST(ProbeDisk, LatencyIsThatOfSmallReads) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  const double latency_s = measure_disk_latency(folder.path() / "weights");
  EXPECT_GT(latency_s, 0);
  EXPECT_LT(latency_s, 1);
  folder.write("few", "bytes");
  EXPECT_THROW(measure_disk_latency(folder.path() / "few"), FileError);
}

TEST(ProbeDisk, ReadsAllFilesOfAFolder) {
  FakeRoot folder;
  folder.write("a", std::string(kMiB, 'a'));
  folder.write("b", std::string(2 * kMiB, 'b'));
  folder.write("config.json", "{}");
  EXPECT_EQ(probe_disk(folder.path(), small_probe()).drive.bytes, 3 * kMiB);
}

TEST(ProbeDisk, FollowsLinksAsTheHubCacheHasThem) {
  FakeRoot folder;
  folder.write("blobs/1", std::string(kMiB, 'a'));
  folder.make_folder("snapshot");
  std::filesystem::create_symlink("../blobs/1", folder.path() / "snapshot/model.safetensors");
  EXPECT_EQ(probe_disk(folder.path() / "snapshot", small_probe()).drive.bytes, kMiB);
}

TEST(ProbeDisk, ReadsAtMostWhatItMay) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  EXPECT_EQ(probe_disk(folder.path(), small_probe(kMiB)).drive.bytes, kMiB);
}

TEST(ProbeDisk, RatesAreBytesOverSeconds) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  const DiskProbe probe = probe_disk(folder.path(), small_probe());
  EXPECT_GT(probe.drive.seconds, 0);
  EXPECT_DOUBLE_EQ(probe.drive.bytes_per_s(), 3.0 * kMiB / probe.drive.seconds);
}

TEST(ProbeDisk, PageCacheIsReadOverAndOver) {
  FakeRoot folder;
  folder.write("weights", std::string(kMiB, 'w'));
  EXPECT_EQ(probe_disk(folder.path(), small_probe(8 * kMiB)).page_cache.bytes, 8 * kMiB);
}

TEST(ProbeDisk, ReadsThroughThePageCacheWhereAskedTo) {
  FakeRoot folder;
  folder.write("weights", std::string(kMiB, 'w'));
  DiskProbeOptions options = small_probe();
  options.try_direct = false;
  const DiskProbe probe = probe_disk(folder.path(), options);
  EXPECT_FALSE(probe.direct);
  EXPECT_EQ(probe.drive.bytes, kMiB);
}

TEST(ProbeDisk, LittleToReadIsNoted) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  EXPECT_THAT(probe_disk(folder.path(), small_probe()).note, HasSubstr("only 3 MiB to read"));
}

TEST(ProbeDisk, NothingLargeEnoughIsAnError) {
  FakeRoot folder;
  folder.write("config.json", "{}");
  EXPECT_THROW(probe_disk(folder.path(), small_probe()), FileError);
}

TEST(ProbeDisk, MissingPathIsAnError) {
  EXPECT_THROW(probe_disk(FakeRoot().path() / "absent", small_probe()), FileError);
}

TEST(ProbeDisk, ReadsOfAnOddSizeAreAnError) {
  DiskProbeOptions options;
  options.read_bytes = 1000;
  EXPECT_THROW(probe_disk(".", options), ArgumentError);
}

TEST(ProbeDiskByWriting, ReadsWhatItWrote) {
  FakeRoot folder;
  const DiskProbe probe = probe_disk_by_writing(folder.path(), small_probe(4 * kMiB));
  ASSERT_TRUE(probe.write.has_value());
  EXPECT_EQ(probe.write->bytes, 4 * kMiB);
  EXPECT_EQ(probe.drive.bytes, 4 * kMiB);
}

TEST(ProbeDiskByWriting, LeavesNothingBehind) {
  FakeRoot folder;
  probe_disk_by_writing(folder.path(), small_probe(kMiB));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(ProbeDiskByWriting, FullDriveIsAnErrorBeforeItWrites) {
  FakeRoot folder;
  EXPECT_THROW(probe_disk_by_writing(folder.path(), small_probe(std::uint64_t{1} << 60)),
               FileError);
}

TEST(MeasureDiskRead, IsTheDrivesRate) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  EXPECT_GT(measure_disk_read(folder.path(), 3 * kMiB), 0);
}

}  // namespace
}  // namespace shoehorn
