#include "weights/weight_stream.h"

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "weights/faulty_reader.h"
#include "weights/testing_checkpoint.h"

namespace shoehorn {
namespace {

using testing::Fault;
using testing::FaultyReader;
using ::testing::HasSubstr;

constexpr int kGroups = 4;
constexpr int kPerGroup = 3;

/// Groups of a matrix of several reads, a small vector, and one that is converted or brought into
/// order on its way, at offsets of the file that are no multiples of anything but 4.
class WeightStreamTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ =
        std::filesystem::path(::testing::TempDir()) /
        (std::string("stream_") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::vector<testing::StoredTensor> tensors = {{"head", DType::kF32, {5}}};
    for (int g = 0; g < kGroups; ++g) {
      const std::string name = "g" + std::to_string(g);
      tensors.push_back({name + ".a", DType::kF32, {40 + g, 96}});
      tensors.push_back({name + ".b", DType::kF32, {7}});
      if (g % 2 == 0) {
        tensors.push_back({name + ".c", DType::kF32, {32, 64}, {.interleaved_heads = 2}});
      } else {
        tensors.push_back({name + ".c", DType::kBF16, {31, 64}});
      }
    }
    checkpoint_ = testing::make_checkpoint(path_, tensors);
    for (int g = 0; g < kGroups; ++g) {
      WeightGroup& group = groups_.emplace_back();
      group.name = "g" + std::to_string(g);
      for (const char* part : {".a", ".b", ".c"}) {
        const TensorInfo& info = checkpoint_->at(group.name + part);
        group.weights.push_back({.path = info.name,
                                 .shape = info.shape,
                                 .source = &info,
                                 .form = {.dtype = DType::kF32},
                                 .device = {DeviceKind::kDisk}});
      }
    }
    for (const WeightGroup& group : groups_) {
      auto& bytes = expected_.emplace_back();
      for (const WeightSpec& weight : group.weights) {
        auto& out = bytes.emplace_back(form_bytes(weight));
        LoadScratch scratch;
        WeightLoader loader(*checkpoint_, weight, std::span(out), Isa::kRef);
        for (std::int64_t piece = 0; piece < loader.pieces(); ++piece) loader.load(piece, scratch);
      }
    }
  }

  void TearDown() override { std::filesystem::remove(path_); }

  StreamOptions options(int slots = 2) {
    StreamOptions result;
    result.ring_bytes = WeightStream::ring_bytes(*checkpoint_, pointers(), slots);
    result.io.read_bytes = 4096;  // several reads a matrix
    return result;
  }

  StreamOptions faulty(FaultyReader::Decide decide, int slots = 2) {
    StreamOptions result = options(slots);
    result.make_reader = [decide](const IoMode&) -> std::unique_ptr<AsyncReader> {
      return std::make_unique<FaultyReader>(decide);
    };
    return result;
  }

  std::vector<const WeightGroup*> pointers() const {
    std::vector<const WeightGroup*> result;
    for (const WeightGroup& group : groups_) result.push_back(&group);
    return result;
  }

  std::unique_ptr<WeightStream> stream(const StreamOptions& options) {
    return std::make_unique<WeightStream>(*checkpoint_, pointers(), options, memory_, Isa::kRef);
  }

  /// Takes a group and holds it against what is expected.
  void check(WeightStream& stream, std::size_t group) {
    const auto weights = stream.take(group);
    ASSERT_EQ(weights.size(), std::size_t{kPerGroup});
    for (std::size_t w = 0; w < weights.size(); ++w) {
      ASSERT_NE(weights[w], nullptr);
      EXPECT_EQ(std::memcmp(weights[w], expected_[group][w].data(), expected_[group][w].size()), 0)
          << groups_[group].weights[w].path;
    }
    stream.give_back();
  }

  void check_passes(WeightStream& stream, int passes) {
    for (int pass = 0; pass < passes; ++pass) {
      for (std::size_t group = 0; group < kGroups; ++group) check(stream, group);
    }
  }

  std::filesystem::path path_;
  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<WeightGroup> groups_;
  std::vector<std::vector<std::vector<std::byte>>> expected_;
  DeviceMemory memory_{{}};
};

TEST_F(WeightStreamTest, EveryReadPathAndEveryRingGivesTheSameBytes) {
  for (const char* path : {"uring-direct", "uring-buffered", "pread-direct", "pread-buffered"}) {
    for (const std::size_t read_bytes : {std::size_t{4096}, std::size_t{2} << 20}) {
      for (const std::size_t extra : {0U, 4096U, 8192U, 30000U, 1U << 20}) {
        for (const int in_flight : {1, 8}) {
          StreamOptions stream_options = options(1);
          stream_options.ring_bytes += extra;
          ASSERT_TRUE(set_path(stream_options.io, path));
          stream_options.io.read_bytes = read_bytes;
          stream_options.io.reads_in_flight = in_flight;
          const auto reader = stream(stream_options);
          check_passes(*reader, 3);
          if (HasFailure()) FAIL() << path << ' ' << read_bytes << ' ' << extra;
        }
      }
    }
  }
}

TEST_F(WeightStreamTest, APassThatSkipsGroupsIsFollowed) {
  const auto reader = stream(options());
  for (const std::size_t group : {0U, 2U, 3U, 1U, 1U, 0U}) check(*reader, group);
}

TEST_F(WeightStreamTest, ShortReadsAreGoneOnWith) {
  for (const std::size_t at_most : {1U, 100U, 511U, 512U, 4095U, 4096U, 5000U}) {
    const auto reader = stream(
        faulty([=](const ReadRequest&, std::uint64_t) { return Fault{.at_most = at_most}; }));
    check_passes(*reader, at_most == 1 ? 1 : 2);
  }
}

TEST_F(WeightStreamTest, ADriveThatRefusesDirectReadsIsReadThroughThePageCache) {
  // The first descriptor that comes is the file's own where reads are not direct.
  const int own = checkpoint_->files().front().fd();
  const auto reader = stream(faulty([=](const ReadRequest& request, std::uint64_t) {
    return Fault{.error = request.fd == own ? 0 : EINVAL};
  }));
  check_passes(*reader, 2);
}

TEST_F(WeightStreamTest, AnErrorAtAnyReadNamesFileTensorAndOffsetAndTheNextPassGoesOn) {
  std::atomic<std::uint64_t> reads = 0;
  check_passes(*stream(faulty([&](const ReadRequest&, std::uint64_t) {
    ++reads;
    return Fault{};
  })),
               2);
  ASSERT_GT(reads.load(), 40U);
  for (std::uint64_t bad = 0; bad < reads.load(); ++bad) {
    std::atomic<std::uint64_t> bad_offset = 0;
    const auto reader = stream(faulty([&, bad](const ReadRequest& request, std::uint64_t number) {
      if (number == bad) bad_offset = request.offset;
      return Fault{.error = number == bad ? EIO : 0};
    }));
    int errors = 0;
    for (int pass = 0; pass < 4; ++pass) {
      for (std::size_t group = 0; group < kGroups; ++group) {
        try {
          check(*reader, group);
        } catch (const FileError& error) {
          ++errors;
          EXPECT_THAT(error.what(), HasSubstr(path_.string()));
          EXPECT_THAT(error.what(), HasSubstr("reading g" + std::to_string(group) + "."));
          EXPECT_THAT(error.what(), HasSubstr("at byte " + std::to_string(bad_offset.load())));
          EXPECT_THAT(error.what(), HasSubstr("Input/output error"));
          break;  // the pass ends; the next one begins at its first group
        }
      }
    }
    EXPECT_EQ(errors, 1) << "read " << bad;
  }
}

TEST_F(WeightStreamTest, ADriveThatStaysBadFailsEveryPassAndNeverHangs) {
  const auto reader = stream(faulty([](const ReadRequest&, std::uint64_t number) {
    return Fault{.error = number > 20 && number % 3 == 0 ? EIO : 0};
  }));
  int errors = 0;
  for (int pass = 0; pass < 6; ++pass) {
    try {
      check_passes(*reader, 1);
    } catch (const FileError&) {
      ++errors;
    }
  }
  EXPECT_GT(errors, 3);
}

TEST_F(WeightStreamTest, ASlowDriveIsWaitedForAndCountedAsWaiting) {
  const auto reader = stream(faulty([](const ReadRequest&, std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Fault{};
  }));
  check_passes(*reader, 1);
  EXPECT_GT(reader->stats().wait_s, 0.02);
  EXPECT_GT(reader->group_reads().front().read_s, 0.002);
}

TEST_F(WeightStreamTest, ATruncationWhileItRunsIsAnErrorAndNeverWrongNumbers) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{4096}, std::uint64_t{30000},
                                   std::filesystem::file_size(path_) - 1}) {
    TearDown();
    groups_.clear();
    expected_.clear();
    SetUp();
    const auto reader = stream(options(1));
    check(*reader, 0);
    std::filesystem::resize_file(path_, size);
    bool failed = false;
    for (int pass = 0; pass < 3 && !failed; ++pass) {
      try {
        for (std::size_t group = 1; group < kGroups; ++group) check(*reader, group);
      } catch (const FileError& error) {
        failed = true;
        EXPECT_THAT(error.what(), HasSubstr(path_.string()));
        EXPECT_THAT(error.what(), HasSubstr("g"));
      }
    }
    EXPECT_TRUE(failed) << size;
  }
}

TEST_F(WeightStreamTest, AFileThatIsWrittenToIsAnError) {
  const auto reader = stream(options(1));
  check_passes(*reader, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // of the clock that stamps files
  {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(1000);
    file.write("other", 5);
  }
  EXPECT_THROW(
      {
        // The first group may have been read before.
        for (int pass = 0; pass < 2; ++pass) {
          for (std::size_t group = 0; group < kGroups; ++group) {
            reader->take(group);
            reader->give_back();
          }
        }
      },
      FileError);
}

TEST_F(WeightStreamTest, AFileReplacedUnderItsNameIsStillTheOneThatWasOpened) {
  const auto reader = stream(options(1));
  check_passes(*reader, 1);
  const std::filesystem::path other = path_.string() + ".other";
  std::ofstream(other) << std::string(std::filesystem::file_size(path_), 'x');
  std::filesystem::rename(other, path_);
  check_passes(*reader, 2);
}

TEST_F(WeightStreamTest, VerifyFindsAByteThatTheDriveChanged) {
  for (const bool verify : {true, false}) {
    std::atomic<bool> rotten = false;
    StreamOptions stream_options = options(1);
    stream_options.verify = verify;
    // Reads as the drive does, but for one bit.
    class RottenReader : public FaultyReader {
     public:
      explicit RottenReader(std::atomic<bool>& rotten)
          : FaultyReader([](const ReadRequest&, std::uint64_t) { return Fault{}; }),
            rotten_(rotten) {}
      void start(const ReadRequest& request) override {
        FaultyReader::start(request);
        if (rotten_ && request.offset >= 8192) request.out[request.out.size() / 2] ^= std::byte{4};
      }

     private:
      std::atomic<bool>& rotten_;
    };
    stream_options.make_reader = [&](const IoMode&) -> std::unique_ptr<AsyncReader> {
      return std::make_unique<RottenReader>(rotten);
    };
    const auto reader = stream(stream_options);
    check_passes(*reader, 2);
    rotten = true;
    std::string message;
    try {
      for (int pass = 0; pass < 2; ++pass) {
        for (std::size_t group = 0; group < kGroups; ++group) {
          reader->take(group);
          reader->give_back();
        }
      }
    } catch (const FileError& error) {
      message = error.what();
    }
    if (verify) {
      EXPECT_THAT(message, HasSubstr("are not those that were read before"));
      EXPECT_THAT(message, HasSubstr("reading g"));
    } else {
      EXPECT_EQ(message, "");
    }
  }
}

TEST_F(WeightStreamTest, ARunThatLiesTogetherIsOneRead) {
  std::atomic<std::uint64_t> reads = 0;
  StreamOptions stream_options = faulty([&](const ReadRequest&, std::uint64_t) {
    ++reads;
    return Fault{};
  });
  stream_options.io.read_bytes = std::size_t{2} << 20;
  check_passes(*stream(stream_options), 1);
  // g.a and g.b in one, g.c, which is converted, in another; the ring may be ahead by all groups.
  EXPECT_GE(reads.load(), 2U * kGroups);
  EXPECT_LE(reads.load(), 4U * kGroups);
}

TEST(ChecksumOf, EveryByteCounts) {
  std::vector<std::byte> bytes(101);
  const std::uint64_t zero = checksum_of(bytes);
  for (std::byte& byte : bytes) {
    byte = std::byte{1};
    EXPECT_NE(checksum_of(bytes), zero);
    byte = std::byte{0};
  }
  EXPECT_EQ(checksum_of(bytes), zero);
  EXPECT_NE(checksum_of(std::span(bytes).first(100)), zero);
}

}  // namespace
}  // namespace shoehorn
