#include "base/memory_status.h"

#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "base/fake_root.h"
#include "base/host_buffer.h"

namespace shoehorn {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kGiB = 1 << 30;

// 16 GiB, 12 of them available, in no control group.
class MemoryStatusTest : public ::testing::Test {
 protected:
  MemoryStatusTest() {
    root_.write("proc/meminfo",
                "MemTotal:       16777216 kB\nMemFree:         4194304 kB\n"
                "MemAvailable:   12582912 kB\nSwapTotal:       2097152 kB\n"
                "SwapFree:        1048576 kB\n");
  }

  void enter_v2(const std::string& group) {
    root_.write("proc/self/cgroup", "0::" + group + "\n");
    root_.write("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    root_.make_folder("sys/fs/cgroup" + group);
  }

  void enter_v1() {
    root_.write("proc/self/cgroup", "4:memory:/a\n");
    root_.write("proc/self/mountinfo", "35 31 0:32 / /cg rw - cgroup cgroup rw,memory\n");
    root_.make_folder("cg/a");
  }

  void write(const std::string& file, std::uint64_t bytes) {
    root_.write(file, std::to_string(bytes) + "\n");
  }

  MemoryStatus status() const { return memory_status(root_.path()); }

  FakeRoot root_;
};

TEST_F(MemoryStatusTest, TotalIsMemTotal) {
  EXPECT_EQ(status().total_bytes, 16 * kGiB);
}

TEST_F(MemoryStatusTest, FreeIsMemAvailableOutsideOfGroups) {
  EXPECT_EQ(status().free_bytes, 12 * kGiB);
}

TEST_F(MemoryStatusTest, SwapIsRead) {
  EXPECT_EQ(status().swap_total_bytes, 2 * kGiB);
  EXPECT_EQ(status().swap_free_bytes, 1 * kGiB);
}

TEST_F(MemoryStatusTest, NoGroupIsNoLimit) {
  EXPECT_FALSE(status().cgroup_limit_bytes.has_value());
  EXPECT_EQ(status().limit_bytes(), 16 * kGiB);
}

TEST_F(MemoryStatusTest, V2LimitMinusUsageBoundsFree) {
  enter_v2("/job");
  write("sys/fs/cgroup/job/memory.max", 4 * kGiB);
  write("sys/fs/cgroup/job/memory.current", 1 * kGiB);
  EXPECT_EQ(status().free_bytes, 3 * kGiB);
  EXPECT_EQ(status().cgroup_limit_bytes, 4 * kGiB);
}

TEST_F(MemoryStatusTest, FilePagesThatTheKernelGivesBackAreFree) {
  enter_v2("/job");
  write("sys/fs/cgroup/job/memory.max", 4 * kGiB);
  write("sys/fs/cgroup/job/memory.current", 3 * kGiB);
  root_.write("sys/fs/cgroup/job/memory.stat",
              "anon 1073741824\nfile 2147483648\ninactive_file 1073741824\n"
              "active_file 536870912\nslab_reclaimable 0\n");
  EXPECT_EQ(status().free_bytes, 2 * kGiB + 512 * kMiB);
}

TEST_F(MemoryStatusTest, V2MaxIsNoLimit) {
  enter_v2("/job");
  root_.write("sys/fs/cgroup/job/memory.max", "max\n");
  write("sys/fs/cgroup/job/memory.current", 1 * kGiB);
  EXPECT_FALSE(status().cgroup_limit_bytes.has_value());
  EXPECT_EQ(status().free_bytes, 12 * kGiB);
}

TEST_F(MemoryStatusTest, V2HighIsALimitToo) {
  enter_v2("/job");
  root_.write("sys/fs/cgroup/job/memory.max", "max\n");
  write("sys/fs/cgroup/job/memory.high", 2 * kGiB);
  EXPECT_EQ(status().cgroup_limit_bytes, 2 * kGiB);
}

TEST_F(MemoryStatusTest, ParentGroupsLimitCounts) {
  enter_v2("/pod/container");
  root_.write("sys/fs/cgroup/pod/container/memory.max", "max\n");
  write("sys/fs/cgroup/pod/memory.max", 2 * kGiB);
  write("sys/fs/cgroup/pod/memory.current", kGiB / 2);
  EXPECT_EQ(status().cgroup_limit_bytes, 2 * kGiB);
  EXPECT_EQ(status().free_bytes, kGiB + kGiB / 2);
}

// The parent's limit is larger, but less of it is left.
TEST_F(MemoryStatusTest, FreeIsWhatTheFullestGroupLeaves) {
  enter_v2("/pod/container");
  write("sys/fs/cgroup/pod/container/memory.max", 3 * kGiB);
  write("sys/fs/cgroup/pod/container/memory.current", 1 * kGiB);
  write("sys/fs/cgroup/pod/memory.max", 8 * kGiB);
  write("sys/fs/cgroup/pod/memory.current", 7 * kGiB);
  EXPECT_EQ(status().cgroup_limit_bytes, 3 * kGiB);
  EXPECT_EQ(status().free_bytes, 1 * kGiB);
}

TEST_F(MemoryStatusTest, SystemBoundsFreeUnderALargerLimit) {
  enter_v2("/job");
  write("sys/fs/cgroup/job/memory.max", 15 * kGiB);
  write("sys/fs/cgroup/job/memory.current", 1 * kGiB);
  EXPECT_EQ(status().free_bytes, 12 * kGiB);
}

TEST_F(MemoryStatusTest, UsageBeyondTheLimitLeavesNothing) {
  enter_v2("/job");
  write("sys/fs/cgroup/job/memory.max", 1 * kGiB);
  write("sys/fs/cgroup/job/memory.current", 2 * kGiB);
  EXPECT_EQ(status().free_bytes, 0U);
}

TEST_F(MemoryStatusTest, V1LimitMinusUsageBoundsFree) {
  enter_v1();
  write("cg/a/memory.limit_in_bytes", 4 * kGiB);
  write("cg/a/memory.usage_in_bytes", 3 * kGiB);
  root_.write("cg/a/memory.stat",
              "inactive_file 1\ntotal_inactive_file 1073741824\ntotal_active_file 0\n");
  EXPECT_EQ(status().cgroup_limit_bytes, 4 * kGiB);
  EXPECT_EQ(status().free_bytes, 2 * kGiB);
}

TEST_F(MemoryStatusTest, V1HugeLimitIsNone) {
  enter_v1();
  write("cg/a/memory.limit_in_bytes", 9223372036854771712U);
  EXPECT_FALSE(status().cgroup_limit_bytes.has_value());
}

TEST_F(MemoryStatusTest, NoMeminfoIsAnError) {
  EXPECT_THROW(memory_status(FakeRoot().path()), FileError);
}

TEST(MemoryStatus, OfThisMachineIsConsistent) {
  const MemoryStatus status = memory_status();
  EXPECT_GT(status.free_bytes, 0U);
  EXPECT_LE(status.free_bytes, status.limit_bytes());
}

TEST(ProcessMemory, ReadsTheStatusFile) {
  FakeRoot root;
  root.write("proc/self/status",
             "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
             "RssAnon:\t     512 kB\nThreads:\t1\n");
  EXPECT_EQ(process_memory(root.path()).rss_bytes, 1 * kMiB);
  EXPECT_EQ(process_memory(root.path()).peak_rss_bytes, 2 * kMiB);
  EXPECT_EQ(process_memory(root.path()).anonymous_bytes, kMiB / 2);
}

TEST(ProcessMemory, PeakRemembersMemoryThatIsGone) {
  const std::uint64_t before = process_memory().rss_bytes;
  {
    HostBuffer buffer(64 * kMiB);
    std::memset(buffer.data(), 1, buffer.size());
  }
  EXPECT_GE(process_memory().peak_rss_bytes, before + 60 * kMiB);
}

TEST(ResetPeakRss, PeakBeginsAgain) {
  {
    HostBuffer buffer(64 * kMiB);
    std::memset(buffer.data(), 1, buffer.size());
  }
  if (!reset_peak_rss()) GTEST_SKIP() << "this kernel does not reset the peak";
  const ProcessMemory memory = process_memory();
  EXPECT_LT(memory.peak_rss_bytes, memory.rss_bytes + 32 * kMiB);
}

}  // namespace
}  // namespace shoehorn
