#include "base/machine.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fake_root.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kTwoThreadsOfOneCore =
    "processor\t: 0\nmodel name\t: Some Processor @ 2.00GHz\nphysical id\t: 0\ncore id\t\t: 3\n"
    "flags\t\t: fpu sse2 avx avx2 fma f16c hypervisor avx512_vnni\n\n"
    "processor\t: 1\nmodel name\t: Other\nphysical id\t: 0\ncore id\t\t: 3\nflags\t\t: fpu\n";

ProcessorFacts processor(const FakeRoot& root) {
  return survey_processor(root.path());
}
GpuSurvey gpus(const FakeRoot& root) {
  return survey_gpus(root.path());
}

TEST(SurveyProcessor, NamesTheFirstProcessor) {
  FakeRoot root;
  root.write("proc/cpuinfo", kTwoThreadsOfOneCore);
  EXPECT_EQ(processor(root).name, "Some Processor @ 2.00GHz");
}

TEST(SurveyProcessor, ListsFeaturesThatKernelsCareAbout) {
  FakeRoot root;
  root.write("proc/cpuinfo", kTwoThreadsOfOneCore);
  EXPECT_THAT(processor(root).features,
              ElementsAre("sse2", "avx", "f16c", "fma", "avx2", "avx512_vnni"));
}

TEST(SurveyProcessor, ReadsArmFeatures) {
  FakeRoot root;
  root.write("proc/cpuinfo",
             "processor\t: 0\nFeatures\t: fp asimd evtstrm asimddp sve i8mm bf16\n");
  EXPECT_THAT(processor(root).features, ElementsAre("asimd", "asimddp", "bf16", "i8mm", "sve"));
}

TEST(SurveyProcessor, SecondThreadIsNoCore) {
  FakeRoot root;
  root.write("proc/cpuinfo", kTwoThreadsOfOneCore);
  EXPECT_EQ(processor(root).online, 2);
  EXPECT_EQ(processor(root).cores, 1);
}

TEST(SurveyProcessor, SeesTheHypervisor) {
  FakeRoot root;
  root.write("proc/cpuinfo", kTwoThreadsOfOneCore);
  EXPECT_TRUE(processor(root).virtual_machine);
}

TEST(SurveyProcessor, ReadsCachesByLevel) {
  FakeRoot root;
  const std::string caches = "sys/devices/system/cpu/cpu0/cache/";
  root.write(caches + "index0/level", "1\n");
  root.write(caches + "index0/size", "48K\n");
  root.write(caches + "index2/level", "2\n");
  root.write(caches + "index2/size", "2048K\n");
  root.write(caches + "index3/level", "3\n");
  root.write(caches + "index3/size", "480M\n");
  EXPECT_EQ(processor(root).l2_bytes, 2U << 20);
  EXPECT_EQ(processor(root).l3_bytes, 480U << 20);
}

TEST(SurveyProcessor, CountsNumaNodes) {
  FakeRoot root;
  root.make_folder("sys/devices/system/node/node0");
  root.make_folder("sys/devices/system/node/node1");
  root.write("sys/devices/system/node/online", "0-1\n");
  EXPECT_EQ(processor(root).numa_nodes, 2);
}

TEST(SurveyProcessor, NothingReadableIsUnknown) {
  const ProcessorFacts facts = processor(FakeRoot());
  EXPECT_EQ(facts.name, "unknown");
  EXPECT_THAT(facts.features, IsEmpty());
}

// A process in group /a/b of a v2 hierarchy.
class ProcessorQuota : public ::testing::Test {
 protected:
  ProcessorQuota() {
    root_.write("proc/self/cgroup", "0::/a/b\n");
    root_.write("proc/self/mountinfo", "30 24 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
    root_.make_folder("cg/a/b");
  }
  FakeRoot root_;
};

TEST_F(ProcessorQuota, IsQuotaOverPeriod) {
  root_.write("cg/a/b/cpu.max", "150000 100000\n");
  EXPECT_EQ(cgroup_processor_quota(root_.path()), 1.5);
}

TEST_F(ProcessorQuota, MaxIsNone) {
  root_.write("cg/a/b/cpu.max", "max 100000\n");
  EXPECT_FALSE(cgroup_processor_quota(root_.path()).has_value());
}

TEST_F(ProcessorQuota, ParentsTighterOneCounts) {
  root_.write("cg/a/b/cpu.max", "400000 100000\n");
  root_.write("cg/a/cpu.max", "50000 100000\n");
  EXPECT_EQ(cgroup_processor_quota(root_.path()), 0.5);
}

TEST_F(ProcessorQuota, LessThanOneProcessorStillHasAThread) {
  root_.write("cg/a/cpu.max", "50000 100000\n");
  EXPECT_EQ(usable_processors(root_.path()), 1);
}

TEST(CgroupProcessorQuota, ReadsV1) {
  FakeRoot root;
  root.write("proc/self/cgroup", "3:cpu,cpuacct:/\n");
  root.write("proc/self/mountinfo", "34 31 0:31 / /cg rw - cgroup cgroup rw,cpu,cpuacct\n");
  root.write("cg/cpu.cfs_quota_us", "250000\n");
  root.write("cg/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(cgroup_processor_quota(root.path()), 2.5);
}

TEST(CgroupProcessorQuota, V1MinusOneIsNone) {
  FakeRoot root;
  root.write("proc/self/cgroup", "3:cpu,cpuacct:/\n");
  root.write("proc/self/mountinfo", "34 31 0:31 / /cg rw - cgroup cgroup rw,cpu,cpuacct\n");
  root.write("cg/cpu.cfs_quota_us", "-1\n");
  root.write("cg/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(cgroup_processor_quota(root.path()).has_value());
}

TEST(UsableProcessors, AreAtLeastOneAndAtMostTheMachines) {
  EXPECT_GE(usable_processors(), 1);
  EXPECT_LE(usable_processors(), survey_processor().online);
}

TEST(SurveyMachine, HugePagesModeIsTheOneInBrackets) {
  FakeRoot root;
  root.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  EXPECT_EQ(survey_machine(root.path()).huge_pages, "madvise");
}

TEST(SurveyMachine, OperatingSystemIsThePrettyName) {
  FakeRoot root;
  root.write("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
  EXPECT_EQ(survey_machine(root.path()).operating_system, "Debian GNU/Linux 12 (bookworm)");
}

constexpr const char* kDriverVersion =
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n"
    "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n";

FakeRoot& with_driver_and_gpu(FakeRoot& root) {
  root.write("proc/driver/nvidia/version", kDriverVersion);
  root.write("proc/driver/nvidia/gpus/0000:0b:00.0/information",
             "Model: \t\t NVIDIA H200\nIRQ:   \t\t 42\nBus Type: \t PCIe\n");
  return root;
}

TEST(SurveyGpus, NoneIsSaidSo) {
  EXPECT_EQ(gpus(FakeRoot()).obstacle, "no NVIDIA GPU");
}

TEST(SurveyGpus, DriverVersionIsTheNumberWithDots) {
  FakeRoot root;
  EXPECT_EQ(gpus(with_driver_and_gpu(root)).driver_version, "535.104.05");
}

TEST(SurveyGpus, OpenDriversVersionIsRead) {
  FakeRoot root;
  root.write("proc/driver/nvidia/version",
             "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build\n");
  EXPECT_EQ(gpus(root).driver_version, "550.54.15");
}

TEST(SurveyGpus, DriverNamesTheGpu) {
  FakeRoot root;
  const GpuSurvey survey = gpus(with_driver_and_gpu(root));
  ASSERT_EQ(survey.gpus.size(), 1U);
  EXPECT_EQ(survey.gpus[0].name, "NVIDIA H200");
  EXPECT_EQ(survey.gpus[0].pci_address, "0000:0b:00.0");
}

TEST(SurveyGpus, DeviceFilesMakeItUsable) {
  FakeRoot root;
  with_driver_and_gpu(root);
  root.write("dev/nvidia0", "");
  root.write("dev/nvidiactl", "");
  EXPECT_EQ(gpus(root).obstacle, "");
}

TEST(SurveyGpus, MissingDeviceFileIsTheObstacle) {
  FakeRoot root;
  EXPECT_THAT(gpus(with_driver_and_gpu(root)).obstacle, HasSubstr("/dev/nvidia0 is missing"));
}

TEST(SurveyGpus, CardWithoutDriverIsSeenOnThePciBus) {
  FakeRoot root;
  root.write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n");
  root.write("sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n");
  root.write("sys/bus/pci/devices/0000:01:00.0/device", "0x2684\n");
  root.write("sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n");  // its audio function
  root.write("sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n");
  const GpuSurvey survey = gpus(root);
  ASSERT_EQ(survey.gpus.size(), 1U);
  EXPECT_EQ(survey.gpus[0].name, "NVIDIA device 0x2684");
  EXPECT_THAT(survey.obstacle, HasSubstr("driver is not loaded"));
}

TEST(SurveyGpus, AmdCardIsMentioned) {
  FakeRoot root;
  root.write("sys/bus/pci/devices/0000:01:00.0/vendor", "0x1002\n");
  root.write("sys/bus/pci/devices/0000:01:00.0/class", "0x030000\n");
  EXPECT_THAT(gpus(root).obstacle, HasSubstr("AMD"));
}

}  // namespace
}  // namespace shoehorn
