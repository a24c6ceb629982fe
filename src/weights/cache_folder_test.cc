#include "weights/cache_folder.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/checksum.h"
#include "weights/cached_weight.h"
#include "weights/testing_checkpoint.h"
#include "weights/weight_cache.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr Device kDisk{DeviceKind::kDisk};
constexpr std::size_t kRows = 64;
constexpr std::size_t kColumns = 256;

/// Three weights of a file that are quantized to int8 and streamed.
class WeightCacheFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ =
        fs::path(::testing::TempDir()) /
        (std::string("cache-") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(base_);
    fs::create_directories(base_);
    folder_ = base_ / "cache";
    std::vector<testing::StoredTensor> tensors;
    for (int i = 0; i < 3; ++i) {
      tensors.push_back({"w" + std::to_string(i), DType::kBF16, {kRows, kColumns}});
    }
    checkpoint_ = testing::make_checkpoint(base_ / "weights", tensors);
  }
  void TearDown() override { fs::remove_all(base_); }

  std::vector<WeightGroup> groups(std::vector<int> which = {0, 1, 2}) const {
    std::vector<WeightGroup> result(1);
    for (const int i : which) {
      const TensorInfo& info = checkpoint_->at("w" + std::to_string(i));
      result[0].weights.push_back({.path = info.name,
                                   .shape = info.shape,
                                   .source = &info,
                                   .form = {.quant_type = QuantType::kInt8, .dtype = DType::kBF16},
                                   .device = kDisk});
    }
    return result;
  }

  std::vector<WeightGroup> fill(std::vector<int> which = {0, 1, 2}, std::uint64_t limit = 0) {
    std::vector<WeightGroup> result = groups(std::move(which));
    fill_weight_cache(*checkpoint_, result, {.folder = folder_, .limit_bytes = limit}, pool_,
                      Isa::kRef);
    return result;
  }

  static std::uint64_t file_bytes() { return kCacheHeaderBytes + kRows * kColumns + 4 * kRows; }

  /// All the bytes that the cache holds of a weight, checked.
  static std::vector<std::byte> bytes_of(const WeightSpec& weight) {
    std::vector<std::byte> bytes(form_bytes(weight));
    weight.cached->file.read_at(weight.cached->offset, bytes);
    weight.cached->check(bytes);
    return bytes;
  }

  void set_used(const fs::path& path, std::time_t seconds) const {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }

  fs::path base_;
  fs::path folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
  ThreadPool pool_{1};  // no threads but this one: tests fork
};

TEST_F(WeightCacheFolder, WeightsInMemoryComeFromWhatIsThere) {
  auto resident = groups();
  for (WeightSpec& weight : resident[0].weights) weight.device = Device{};
  const auto fill_residents = [&] {
    fill_weight_cache(*checkpoint_, resident, {.folder = folder_}, pool_, Isa::kRef);
  };
  fill_residents();
  EXPECT_FALSE(fs::exists(folder_)) << "nothing is written for them";
  const auto streamed = fill({0, 2});
  fill_residents();
  EXPECT_EQ(resident[0].weights[1].cached, nullptr);
  ASSERT_NE(resident[0].weights[2].cached, nullptr);
  EXPECT_EQ(bytes_of(resident[0].weights[2]), bytes_of(streamed[0].weights[1]));
}

TEST_F(WeightCacheFolder, WhereItCannotBeMadeTheErrorSaysWhatElseToDo) {
  std::ofstream(folder_) << "a file where the folder should be";
  try {
    fill();
    FAIL() << "no error";
  } catch (const FileError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the weight cache cannot be made"));
    EXPECT_THAT(error.what(), HasSubstr("--offload-folder"));
  }
}

TEST_F(WeightCacheFolder, ListsWhatItHolds) {
  EXPECT_TRUE(list_cache_folder(folder_).empty());
  {
    const auto used = fill();
    std::ofstream(folder_ / "notes.txt") << "not ours";
    fs::create_symlink("/etc/passwd", folder_ / "0123456789abcdef.weight");
    const auto files = list_cache_folder(folder_);
    ASSERT_EQ(files.size(), 3U);
    for (const CacheFolderFile& file : files) {
      EXPECT_EQ(file.bytes, file_bytes());
      EXPECT_TRUE(file.in_use);
      EXPECT_TRUE(file.is_complete);
      EXPECT_EQ(file.text.form, "int8");
      EXPECT_EQ(file.text.source, (base_ / "weights").string());
    }
  }
  EXPECT_FALSE(list_cache_folder(folder_).front().in_use);
}

TEST_F(WeightCacheFolder, ClearLeavesWhatIsUsedAndWhatIsNotOurs) {
  fill();
  const auto used = fill({1});
  std::ofstream(folder_ / "notes.txt") << "not ours";
  const RemovedFiles removed = clear_cache_folder(folder_, {});
  EXPECT_EQ(removed.files, 2U);
  EXPECT_EQ(removed.bytes, 2 * file_bytes());
  EXPECT_EQ(removed.in_use, 1U);
  EXPECT_TRUE(fs::exists(folder_ / "notes.txt"));
  EXPECT_EQ(bytes_of(used[0].weights[0]).size(), form_bytes(used[0].weights[0]));
}

TEST_F(WeightCacheFolder, ClearBeforeATimeLeavesWhatCameLater) {
  fill();
  set_used(list_cache_folder(folder_).front().path, 1000);
  EXPECT_EQ(clear_cache_folder(folder_, std::int64_t{2000} * 1'000'000'000).files, 1U);
  EXPECT_EQ(list_cache_folder(folder_).size(), 2U);
}

TEST_F(WeightCacheFolder, TheLeastRecentlyUsedGoesFirst) {
  fs::path path[2];
  for (int i = 0; i < 2; ++i) path[i] = fill({i})[0].weights[0].cached->file.path();
  set_used(path[0], 2000);
  set_used(path[1], 1000);
  fill({2}, 2 * file_bytes());
  EXPECT_TRUE(fs::exists(path[0]));
  EXPECT_FALSE(fs::exists(path[1]));
  // Using a file makes it recent, looking at it does not.
  const fs::path third = fill({2})[0].weights[0].cached->file.path();
  set_used(path[0], 1000);
  set_used(third, 2000);
  list_cache_folder(folder_);
  fill({0}, 2 * file_bytes());
  fill({1}, 2 * file_bytes());
  EXPECT_TRUE(fs::exists(path[0]));
  EXPECT_FALSE(fs::exists(third));
}

TEST_F(WeightCacheFolder, WhatIsInUseNeverGoes) {
  const auto used = fill({0, 1});
  EXPECT_THROW(fill({2}, 2 * file_bytes()), FileError);
  EXPECT_EQ(list_cache_folder(folder_).size(), 2U);
  EXPECT_NO_THROW(fill({2}, 3 * file_bytes()));
}

TEST_F(WeightCacheFolder, WeightsLargerThanTheLimitAreRefusedBeforeAnythingIsWritten) {
  try {
    fill({0, 1, 2}, 3 * file_bytes() - 1);
    FAIL();
  } catch (const PlanError& error) {
    EXPECT_EQ(error.needed_bytes(), 3 * file_bytes());
    EXPECT_THAT(error.what(), HasSubstr("--offload-cache-limit"));
  }
  EXPECT_FALSE(fs::exists(folder_));
}

TEST_F(WeightCacheFolder, AnyOtherByteIsFoundAndTheNextRunMakesTheFileAnew) {
  const auto good = bytes_of(fill({0})[0].weights[0]);
  const fs::path path = list_cache_folder(folder_).front().path;
  for (const std::uint64_t at :
       {std::uint64_t{kCacheHeaderBytes}, file_bytes() / 2, file_bytes() - 1}) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get() ^ 4);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
    file.close();
    const auto damaged = fill({0});
    EXPECT_THROW(bytes_of(damaged[0].weights[0]), FileError) << at;
    EXPECT_FALSE(fs::exists(path));
    EXPECT_EQ(bytes_of(fill({0})[0].weights[0]), good);
  }
}

TEST_F(WeightCacheFolder, AHeaderOfAnotherWeightIsNotTaken) {
  const auto good = bytes_of(fill({0})[0].weights[0]);
  const fs::path first = list_cache_folder(folder_).front().path;
  const fs::path second = fill({1})[0].weights[0].cached->file.path();
  fs::copy_file(second, first, fs::copy_options::overwrite_existing);
  EXPECT_EQ(bytes_of(fill({0})[0].weights[0]), good);
}

/// Runs `body` in a process of its own; true if that was killed by `signal`, or ended with 0.
bool in_child(const std::function<void()>& body, int signal = 0) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return signal == 0 ? WIFEXITED(status) && WEXITSTATUS(status) == 0
                     : WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

TEST_F(WeightCacheFolder, AFullDriveIsAnErrorThatLeavesNothing) {
  const std::uint64_t room = file_bytes() - 1;
  EXPECT_TRUE(in_child([&] {
    // Files may not grow past this: the system refuses as it does where the drive is full.
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{room, room};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(2);
    try {
      fill({0});
      ::_exit(3);
    } catch (const FileError&) {
    }
  }));
  EXPECT_TRUE(list_cache_folder(folder_).empty());
  EXPECT_EQ(bytes_of(fill({0})[0].weights[0]).size(), form_bytes(groups({0})[0].weights[0]));
}

TEST_F(WeightCacheFolder, WhoeverIsKilledWhileWritingLeavesNothingThatIsTaken) {
  fs::create_directories(folder_);
  const std::string name = "0123456789abcdef.weight";
  EXPECT_TRUE(in_child(
      [&] {
        const auto file = open_with_room(folder_ / name, 100000, 0, {});
        file->write(std::vector<std::byte>(5000));
        ::raise(SIGKILL);
      },
      SIGKILL));
  auto files = list_cache_folder(folder_);
  ASSERT_EQ(files.size(), 1U);
  EXPECT_FALSE(files[0].is_complete);
  EXPECT_FALSE(files[0].in_use);
  fill({0});  // sweeps
  files = list_cache_folder(folder_);
  ASSERT_EQ(files.size(), 1U);
  EXPECT_TRUE(files[0].is_complete);
}

TEST_F(WeightCacheFolder, WhatAnotherProcessWritesIsLeftAlone) {
  fs::create_directories(folder_);
  const auto file = open_with_room(folder_ / "0123456789abcdef.weight", 100, 0, {});
  remove_leftovers(folder_);
  EXPECT_EQ(clear_cache_folder(folder_, {}).in_use, 1U);
  file->write(std::vector<std::byte>(100));
  file->commit();
  EXPECT_TRUE(fs::exists(folder_ / "0123456789abcdef.weight"));
}

TEST_F(WeightCacheFolder, TwoProcessesAtOnceGetTheSameBytes) {
  std::vector<std::vector<std::byte>> want;
  {
    const auto alone = fill();
    for (const WeightSpec& weight : alone[0].weights) want.push_back(bytes_of(weight));
  }
  for (int round = 0; round < 5; ++round) {
    fs::remove_all(folder_);
    const auto take = [&] {
      const auto filled = fill({0, 1, 2}, 9 * file_bytes());
      for (std::size_t i = 0; i < want.size(); ++i) {
        if (bytes_of(filled[0].weights[i]) != want[i]) ::_exit(4);
      }
    };
    const pid_t other = ::fork();
    if (other == 0) {
      try {
        take();
      } catch (...) {
        ::_exit(5);  // the other tests are not this process's
      }
      ::_exit(0);
    }
    EXPECT_TRUE(in_child(take));
    int status = 0;
    ::waitpid(other, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

}  // namespace
}  // namespace shoehorn
