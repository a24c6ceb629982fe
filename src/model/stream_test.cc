// Disk weights of the llama fixtures through every read path and rings of several sizes: the logits
// are those of the model in memory, bit for bit.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "model/testing_golden.h"
#include "model/testing_model.h"

namespace shoehorn {
namespace {

using testing::both_prompts;
using testing::Golden;

/// As the checkpoint stores them (read in place), and converted on the way in.
void expect_same_bits(const std::string& name, std::optional<DType> dtype) {
  const Golden golden(name);
  const auto folder = testing::model_folder(name);
  const auto want = both_prompts(*testing::load_test_model(folder, {.dtype = dtype}), golden);
  for (const char* path : {"uring-direct", "uring-buffered", "pread-direct", "pread-buffered"}) {
    for (const int slots : {1, 2, 3, 100}) {
      testing::TestModelOptions options{.dtype = dtype};
      options.device_of = [](std::string_view) { return Device{DeviceKind::kDisk}; };
      ASSERT_TRUE(set_path(options.weights.io, path));
      options.weights.io.read_bytes = slots == 1 ? 4096 : 65536;
      options.weights.staging_slots = slots;
      options.weights.verify = slots == 2;
      const auto model = testing::load_test_model(folder, options);
      ASSERT_EQ(both_prompts(*model, golden), want) << path << ", " << slots << " slots";
      EXPECT_GT(model->weights().stream_stats().bytes_read, 0U);
    }
  }
}

TEST(DiskStream, AnyReadPathAndAnyRingGivesTheSameBits) {
  for (const char* name : {"llama", "llama-bf16", "llama-sharded", "llama-tied-bias"}) {
    expect_same_bits(name, std::nullopt);
    expect_same_bits(name, DType::kBF16);
  }
}

}  // namespace
}  // namespace shoehorn
