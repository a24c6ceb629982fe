// Sessions with keys and values on CUDA devices, kept in files. Skipped out loud where there is no
// card.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

#include "checkpoint/testing_files.h"
#include "cuda/card.h"

namespace shoehorn {
namespace {

class SessionOnCards : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda::find_cards().cards.empty()) GTEST_SKIP() << cuda::find_cards().why_none;
  }
  std::filesystem::path file() const { return folder_.path() / "cache"; }

 private:
  const testing::TempFolder folder_;
};

Model tiny(const LoadOptions& options) {
  return from_pretrained((std::filesystem::path(SHOEHORN_TEST_DATA) / "tiny-llama").string(),
                         options);
}

const std::vector<std::int32_t> kIds = {1, 5, 9, 3};
const std::vector<std::int32_t> kNext = {7};

TEST_F(SessionOnCards, GoOnFromAFile) {
  for (const std::string kv_dtype : {"float32", "bfloat16", "int8"}) {
    const LoadOptions options{.device_map = "cuda:0", .kv_dtype = kv_dtype};
    std::vector<float> expected;
    {
      const Model model = tiny(options);
      Session session = model.new_session(16);
      session.forward(kIds);
      model.save_session(file(), session, kIds);
      const auto logits = session.forward(kNext);
      expected.assign(logits.begin(), logits.end());
    }
    const Model other = tiny(options);
    Session loaded = other.new_session(9);
    EXPECT_EQ(other.load_session(file(), loaded), kIds);
    const auto logits = loaded.forward(kNext);
    EXPECT_EQ(std::vector<float>(logits.begin(), logits.end()), expected) << kv_dtype;
    Session small = other.new_session(3);
    EXPECT_EQ(other.load_session(file(), small), (std::vector<std::int32_t>{1, 5, 9}));
  }
}

// The sums of a card are not those of the processor.
TEST_F(SessionOnCards, AFileOfOtherDevicesIsRefused) {
  const Model model = tiny({.device_map = "cuda:0"});
  Session session = model.new_session(16);
  session.forward(kIds);
  model.save_session(file(), session, kIds);
  for (const std::string map : {"cpu", R"({"": "cuda:0", "model.layers.3": "cpu"})"}) {
    const Model other = tiny({.device_map = map});
    Session into = other.new_session(16);
    EXPECT_THROW(other.load_session(file(), into), UnsupportedError) << map;
    EXPECT_EQ(into.position(), 0);
  }
}

}  // namespace
}  // namespace shoehorn
