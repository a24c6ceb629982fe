#include "base/cgroup.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fake_root.h"

namespace shoehorn {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Paths below the fake root, v2 marked by a star.
std::vector<std::string> folders(const FakeRoot& root, const char* controller) {
  std::vector<std::string> paths;
  for (const CgroupFolder& folder : cgroup_folders(controller, root.path())) {
    paths.push_back(folder.path.lexically_relative(root.path()).string() + (folder.v2 ? "*" : ""));
  }
  return paths;
}

TEST(CgroupFolders, V2FromTheOwnGroupToTheMount) {
  FakeRoot root;
  root.write("proc/self/cgroup", "0::/user.slice/session-1.scope\n");
  root.write("proc/self/mountinfo",
             "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  root.make_folder("sys/fs/cgroup/user.slice/session-1.scope");
  EXPECT_THAT(folders(root, "memory"), ElementsAre("sys/fs/cgroup/user.slice/session-1.scope*",
                                                   "sys/fs/cgroup/user.slice*", "sys/fs/cgroup*"));
}

TEST(CgroupFolders, V1IsTheMountOfTheController) {
  FakeRoot root;
  root.write("proc/self/cgroup", "4:memory:/jobs/a\n3:cpu,cpuacct:/other\n");
  root.write("proc/self/mountinfo",
             "34 31 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
             "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
  root.make_folder("sys/fs/cgroup/memory/jobs/a");
  root.make_folder("sys/fs/cgroup/cpu/other");
  EXPECT_THAT(folders(root, "memory"),
              ElementsAre("sys/fs/cgroup/memory/jobs/a", "sys/fs/cgroup/memory/jobs",
                          "sys/fs/cgroup/memory"));
}

TEST(CgroupFolders, ControllerMountedWithAnotherIsFound) {
  FakeRoot root;
  root.write("proc/self/cgroup", "3:cpu,cpuacct:/\n");
  root.write("proc/self/mountinfo",
             "34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  root.make_folder("sys/fs/cgroup/cpu,cpuacct");
  EXPECT_THAT(folders(root, "cpu"), ElementsAre("sys/fs/cgroup/cpu,cpuacct"));
}

// Docker on v1 without a cgroup namespace: the group is named as the host sees it, and mounted.
TEST(CgroupFolders, ContainersMountRootIsTakenOffTheGroup) {
  FakeRoot root;
  root.write("proc/self/cgroup", "4:memory:/docker/a1/inner\n");
  root.write("proc/self/mountinfo",
             "35 31 0:32 /docker/a1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  root.make_folder("sys/fs/cgroup/memory/inner");
  EXPECT_THAT(folders(root, "memory"),
              ElementsAre("sys/fs/cgroup/memory/inner", "sys/fs/cgroup/memory"));
}

TEST(CgroupFolders, GroupOutsideTheNamespaceLeavesTheMount) {
  FakeRoot root;
  root.write("proc/self/cgroup", "0::/../other\n");
  root.write("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
  root.make_folder("sys/fs/cgroup");
  EXPECT_THAT(folders(root, "memory"), ElementsAre("sys/fs/cgroup*"));
}

TEST(CgroupFolders, HybridHierarchyGivesBoth) {
  FakeRoot root;
  root.write("proc/self/cgroup", "4:memory:/\n0::/\n");
  root.write("proc/self/mountinfo",
             "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
             "36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  root.make_folder("sys/fs/cgroup/memory");
  root.make_folder("sys/fs/cgroup/unified");
  EXPECT_THAT(folders(root, "memory"),
              ElementsAre("sys/fs/cgroup/memory", "sys/fs/cgroup/unified*"));
}

TEST(CgroupFolders, MountPointWithABlankIsUnescaped) {
  FakeRoot root;
  root.write("proc/self/cgroup", "0::/\n");
  root.write("proc/self/mountinfo", "30 24 0:26 / /my\\040groups rw - cgroup2 cgroup rw\n");
  root.make_folder("my groups");
  EXPECT_THAT(folders(root, "memory"), ElementsAre("my groups*"));
}

TEST(CgroupFolders, NoProcIsNoGroup) {
  EXPECT_THAT(folders(FakeRoot(), "memory"), IsEmpty());
}

}  // namespace
}  // namespace shoehorn
