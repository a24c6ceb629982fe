#include "kernels/exec_context.h"

#include <cstdint>
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "kernels/cpu_features.h"

namespace shoehorn {
namespace {

// Sets SHOEHORN_ISA for one test and puts back what was there.
class IsaVariable {
 public:
  explicit IsaVariable(const char* value) {
    if (const char* old = std::getenv("SHOEHORN_ISA")) old_ = old;
    ::setenv("SHOEHORN_ISA", value, 1);
  }
  ~IsaVariable() {
    if (old_.empty()) {
      ::unsetenv("SHOEHORN_ISA");
    } else {
      ::setenv("SHOEHORN_ISA", old_.c_str(), 1);
    }
  }

 private:
  std::string old_;
};

TEST(DetectIsa, RefCanBeForcedAnywhere) {
  const IsaVariable variable("ref");
  EXPECT_EQ(detect_isa(), Isa::kRef);
}

TEST(DetectIsa, RefusesAnUnknownNameAndListsTheKnownOnes) {
  const IsaVariable variable("sse9");
  try {
    detect_isa();
    FAIL() << "no error";
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("\"sse9\"; it may be ref, avx2, avx512 or amx"));
  }
}

TEST(DetectIsa, AgreesWithTheCompilersOwnCheck) {
  const IsaVariable variable("");
#if defined(__x86_64__)
  EXPECT_EQ(detect_isa() >= Isa::kAvx2, __builtin_cpu_supports("avx2") &&
                                            __builtin_cpu_supports("fma") &&
                                            detect_cpu_features().f16c);
  EXPECT_EQ(detect_isa() >= Isa::kAvx512,
            __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
#else
  EXPECT_EQ(detect_isa(), Isa::kRef);
#endif
}

TEST(Workspace, EverySpanIsAligned) {
  Workspace workspace(1024);
  workspace.take<std::byte>(3);
  const auto second = workspace.take<float>(5);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(second.data()) % 64, 0U);
}

TEST(Workspace, ReleaseGivesTheSameMemoryAgain) {
  Workspace workspace(1024);
  const std::size_t mark = workspace.mark();
  const float* const first = workspace.take<float>(100).data();
  workspace.release(mark);
  EXPECT_EQ(workspace.take<float>(100).data(), first);
}

TEST(Workspace, PeakRemembersTheMostThatWasTaken) {
  Workspace workspace(1024);
  workspace.take<std::byte>(640);
  workspace.release(0);
  workspace.take<std::byte>(64);
  EXPECT_EQ(workspace.peak_bytes(), 640U);
}

TEST(Workspace, AllOfItCanBeTaken) {
  Workspace workspace(100);
  EXPECT_EQ(workspace.take<std::byte>(100).size(), 100U);
}

TEST(Workspace, TakingTooMuchSaysHowMuchIsLeft) {
  Workspace workspace(128);
  workspace.take<std::byte>(64);
  try {
    workspace.take<std::byte>(65);
    FAIL() << "no error";
  } catch (const DeviceError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("has 64 left where 65 are needed"));
  }
}

}  // namespace
}  // namespace shoehorn
