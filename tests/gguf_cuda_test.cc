// GGUF files on a CUDA device. Skipped out loud where there is no card.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

#include "cuda/card.h"

namespace shoehorn {
namespace {

// Token by token: the rows of prompts are multiplied in bfloat16.
std::vector<float> stepped_logits(const std::string& name, const std::string& device) {
  const std::filesystem::path file =
      std::filesystem::path(SHOEHORN_TEST_DATA) / "gguf" / "tiny" / name;
  const Model model = from_pretrained(
      file.string(), {.device_map = device, .dtype = "float32", .kv_dtype = "float32"});
  Session session = model.new_session(12);
  std::vector<float> all;
  for (std::int32_t i = 0; i < 12; ++i) {
    const std::int32_t id = i * 7 % 60;
    const auto logits = session.forward({&id, 1});
    all.insert(all.end(), logits.begin(), logits.end());
  }
  return all;
}

TEST(GgufOnCards, FilesGiveWhatTheProcessorDoes) {
  if (cuda::find_cards().cards.empty()) GTEST_SKIP() << cuda::find_cards().why_none;
  for (const char* name : {"llama.gguf", "gpt2-q8_0.gguf", "mixtral-q8_0.gguf", "gemma3.gguf"}) {
    const auto want = stepped_logits(name, "cpu");
    const auto got = stepped_logits(name, "cuda:0");
    ASSERT_EQ(got.size(), want.size());
    float largest = 0;
    float difference = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      largest = std::max(largest, std::abs(want[i]));
      difference = std::max(difference, std::abs(got[i] - want[i]));
    }
    EXPECT_LT(difference / largest, 1e-4) << name;
  }
}

}  // namespace
}  // namespace shoehorn
