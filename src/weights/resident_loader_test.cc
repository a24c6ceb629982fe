#include "weights/resident_loader.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <filesystem>
#include <string>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "base/host_buffer.h"
#include "weights/testing_checkpoint.h"

namespace shoehorn {
namespace {

/// Twelve tensors, every third of which is converted, larger than what is in flight at once.
class LoadJobs : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::path(::testing::TempDir()) /
            (std::string("load_jobs_") +
             ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::vector<testing::StoredTensor> tensors;
    for (int i = 0; i < 12; ++i) {
      tensors.push_back(
          {"w" + std::to_string(i), i % 3 == 0 ? DType::kBF16 : DType::kF32, {700 + i, 2048}});
    }
    checkpoint_ = testing::make_checkpoint(path_, tensors);
    for (int i = 0; i < 12; ++i) {
      const TensorInfo& info = checkpoint_->at("w" + std::to_string(i));
      specs_.push_back({.path = info.name,
                        .shape = info.shape,
                        .source = &info,
                        .form = {.dtype = DType::kF32},
                        .device = {}});
      bytes_.emplace_back(form_bytes(specs_.back()));
    }
    for (int i = 0; i < 12; ++i) {
      loaders_.emplace_back(*checkpoint_, specs_[static_cast<std::size_t>(i)],
                            std::span(bytes_[static_cast<std::size_t>(i)]), Isa::kRef);
      for (std::int64_t piece = 0; piece < loaders_.back().pieces(); ++piece) {
        jobs_.push_back({&loaders_.back(), piece});
      }
    }
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void drop_from_page_cache() const {
    const int fd = checkpoint_->files().front().fd();
    ::fsync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  }

  std::filesystem::path path_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<WeightSpec> specs_;
  std::vector<std::vector<std::byte>> bytes_;
  std::deque<WeightLoader> loaders_;
  std::vector<LoadJob> jobs_;
  ThreadPool pool_{3};
};

TEST_F(LoadJobs, ColdOrCachedEveryJobIsDoneOnce) {
  std::vector<std::vector<std::byte>> want;
  for (const WeightSpec& spec : specs_) {
    auto& bytes = want.emplace_back(form_bytes(spec));
    LoadScratch scratch;
    WeightLoader loader(*checkpoint_, spec, std::span(bytes), Isa::kRef);
    for (std::int64_t piece = 0; piece < loader.pieces(); ++piece) loader.load(piece, scratch);
  }
  for (const bool cold : {true, false}) {
    for (auto& bytes : bytes_) std::ranges::fill(bytes, std::byte{0xEE});
    if (cold) drop_from_page_cache();
    std::atomic<std::size_t> loaded = 0;
    load_jobs(jobs_, {.leave_in_page_cache = !cold}, pool_,
              [&](std::size_t bytes) { loaded += bytes; });
    std::size_t total = 0;
    for (const auto& bytes : bytes_) total += bytes.size();
    EXPECT_EQ(loaded.load(), total);
    EXPECT_EQ(bytes_, want) << (cold ? "cold" : "cached");
  }
}

/// What needs no conversion, to where it stays.
TEST_F(LoadJobs, ReadsInPlaceWhatIsColdAndCopiesWhatIsCached) {
  for (const bool cold : {true, false}) {
    std::vector<LoadJob> jobs;
    std::deque<WeightLoader> loaders;
    std::deque<HostBuffer> memory;
    std::vector<std::span<std::byte>> places;
    std::size_t total = 0;
    for (const WeightSpec& spec : specs_) {
      const auto run = WeightLoader::in_place(*checkpoint_, spec);
      if (!run) continue;
      HostBuffer& blocks = memory.emplace_back(form_bytes(spec) + 2 * kIoAlignment);
      places.push_back(blocks.bytes().subspan(run->source.offset % kIoAlignment, form_bytes(spec)));
      loaders.emplace_back(*checkpoint_, spec, places.back(), Isa::kRef);
      jobs.push_back(
          {.loader = &loaders.back(), .place = places.back().data(), .run = run->source});
      total += form_bytes(spec);
    }
    ASSERT_EQ(jobs.size(), 8U);
    if (cold) drop_from_page_cache();
    std::atomic<std::size_t> loaded = 0;
    load_jobs(jobs, {.io = {.read_bytes = std::size_t{1} << 20}}, pool_,
              [&](std::size_t bytes) { loaded += bytes; });
    EXPECT_EQ(loaded.load(), total);
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      std::vector<std::byte> want(places[i].size());
      jobs[i].run.file->read_at(jobs[i].run.offset, want);
      EXPECT_TRUE(std::ranges::equal(places[i], want)) << i << (cold ? " cold" : " cached");
    }
  }
}

TEST_F(LoadJobs, AFileThatWasCutShortIsAnError) {
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  for (const bool cold : {true, false}) {
    if (cold) drop_from_page_cache();
    EXPECT_THROW(load_jobs(jobs_, {.leave_in_page_cache = !cold}, pool_, [](std::size_t) {}),
                 FileError);
  }
}

}  // namespace
}  // namespace shoehorn
