// GGUF files of every architecture that is read: logits as llama.cpp computes them, the same from
// any device, and from the folder that convert writes. tests/data/gguf/tiny was made by
// tests/parity/compare_gguf.py --golden.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/shoehorn.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

const fs::path kTiny = fs::path(SHOEHORN_TEST_DATA) / "gguf" / "tiny";

/// A file, and how far llama.cpp's own rounding may take its logits from ours, relative to the
/// largest: its gelu is a table in half precision, its products of 8-bit weights round activations
/// to 8 bits.
struct Tiny {
  const char* name;
  double limit;
};
constexpr double kExact = 2e-4;
constexpr double kGelu = 5e-3;
constexpr double kEightBits = 5e-2;

void PrintTo(const Tiny& tiny, std::ostream* out) {
  *out << tiny.name;
}

template <typename T>
std::vector<T> recorded(const std::string& name) {
  const Checkpoint checkpoint = open_checkpoint(kTiny / "llama_cpp_logits.safetensors");
  const TensorInfo& info = checkpoint.at(name);
  std::vector<T> values(info.bytes / sizeof(T));
  checkpoint.read(info, std::as_writable_bytes(std::span(values)));
  return values;
}

std::vector<float> logits_of(const fs::path& model, LoadOptions options = {}) {
  LogitsRequest request;
  request.batch = 1;
  for (const std::int64_t id : recorded<std::int64_t>("ids")) {
    request.input_ids.push_back(static_cast<std::int32_t>(id));
  }
  request.length = static_cast<std::int64_t>(request.input_ids.size());
  options.kv_dtype = "float32";
  return from_pretrained(model.string(), options).logits(request);
}

double distance(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size() || want.empty()) return INFINITY;
  double most = 0;
  double largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double away = std::abs(static_cast<double>(got[i]) - want[i]);
    most = std::isfinite(away) ? std::max(most, away) : INFINITY;
    largest = std::max(largest, std::abs(static_cast<double>(want[i])));
  }
  return most / largest;
}

class GgufArchitecture : public ::testing::TestWithParam<Tiny> {
 protected:
  fs::path file() const { return kTiny / (std::string(GetParam().name) + ".gguf"); }
};

TEST_P(GgufArchitecture, GivesLlamaCppsLogits) {
  EXPECT_LE(distance(logits_of(file()), recorded<float>(GetParam().name)), GetParam().limit);
}

TEST_P(GgufArchitecture, GivesTheSameFromDisk) {
  EXPECT_EQ(logits_of(file(), {.device_map = "disk"}), logits_of(file(), {.device_map = "cpu"}));
}

TEST_P(GgufArchitecture, GivesTheSameConverted) {
  const testing::TempFolder at;
  convert(file().string(), at.path() / "out", {.load = {.dtype = "float32"}});
  EXPECT_LE(distance(logits_of(at.path() / "out"), logits_of(file(), {.dtype = "float32"})), 1e-6);
}

// Each group of rows is quantized by itself, so that rows in another place would show.
TEST_P(GgufArchitecture, IsQuantizedOnLoad) {
  const BitsAndBytesConfig eight{.load_in_8bit = true};
  const testing::TempFolder at;
  convert(file().string(), at.path() / "out", {.load = {.dtype = "float32"}});
  EXPECT_LE(distance(logits_of(file(), {.quantization_config = eight}),
                     logits_of(at.path() / "out", {.quantization_config = eight})),
            1e-6);
}

INSTANTIATE_TEST_SUITE_P(Tiny, GgufArchitecture,
                         ::testing::Values(Tiny{"llama", kExact}, Tiny{"mixtral", kExact},
                                           Tiny{"mixtral-q8_0", kEightBits}, Tiny{"qwen2", kExact},
                                           Tiny{"qwen3", kExact}, Tiny{"gemma", kGelu},
                                           Tiny{"gemma2", kGelu}, Tiny{"gemma3", kGelu},
                                           Tiny{"phi3", kExact}, Tiny{"starcoder2", kGelu},
                                           Tiny{"gpt2", kGelu}, Tiny{"gpt2-q8_0", kEightBits},
                                           Tiny{"falcon-7b", kGelu}, Tiny{"falcon-40b", kGelu},
                                           Tiny{"falcon-11b", kGelu}),
                         [](const auto& tested) {
                           std::string name = tested.param.name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace shoehorn
