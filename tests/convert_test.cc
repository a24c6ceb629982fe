// Checkpoints of every format as plain safetensors folders: the same logits, the files that
// transformers expects. tests/data/torch/tiny-llama-* were written by torch and accelerate
// (make_goldens.py beside them).

#include <algorithm>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

const fs::path kData = SHOEHORN_TEST_DATA;

std::vector<float> logits_of(const fs::path& model, const LoadOptions& options = {}) {
  LogitsRequest request;
  request.batch = 1;
  request.input_ids = {1, 5, 9, 200, 17, 33, 4};
  request.length = static_cast<std::int64_t>(request.input_ids.size());
  return from_pretrained(model.string(), options).logits(request);
}

nlohmann::json json_of(const fs::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

TEST(Convert, KeepsWhatIsStored) {
  const testing::TempFolder at;
  const fs::path out = at.path() / "out";
  const ConvertReport report = convert((kData / "tiny-llama").string(), out);
  EXPECT_EQ(report.dequantized, 0U);
  EXPECT_EQ(report.read_bytes, report.written_bytes);
  const Checkpoint before = open_checkpoint(kData / "tiny-llama");
  const Checkpoint after = open_checkpoint(out);
  EXPECT_EQ(report.tensors, after.tensors().size());
  for (const TensorInfo& info : after.tensors()) {
    std::vector<std::byte> left(info.bytes);
    std::vector<std::byte> right(info.bytes);
    ASSERT_EQ(before.at(info.name).dtype, info.dtype) << info.name;
    before.read(before.at(info.name), left);
    after.read(info, right);
    EXPECT_EQ(left, right) << info.name;
  }
  for (const char* name : {"generation_config.json", "tokenizer.json", "tokenizer_config.json"}) {
    EXPECT_TRUE(fs::exists(out / name)) << name;
  }
  EXPECT_THAT(read_safetensors_header(File(out / "model.safetensors")).metadata,
              ElementsAre(Pair("format", "pt")));
}

// To nearest even, as torch's Tensor.to rounds finite values.
std::uint16_t bfloat16_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16U) & 1U)) >> 16U);
}

TEST(Convert, RoundsToTheDTypeThatIsAskedFor) {
  const testing::TempFolder at;
  const fs::path model = kData / "models" / "llama";
  convert(model.string(), at.path() / "out", {.load = {.dtype = "bfloat16"}});
  const Checkpoint before = open_checkpoint(model);
  const Checkpoint after = open_checkpoint(at.path() / "out");
  for (const TensorInfo& info : after.tensors()) {
    ASSERT_EQ(info.dtype, DType::kBF16) << info.name;
    const auto elements = static_cast<std::size_t>(info.shape.elements());
    std::vector<float> stored(elements);
    std::vector<std::uint16_t> written(elements);
    before.read(before.at(info.name), std::as_writable_bytes(std::span(stored)));
    after.read(info, std::as_writable_bytes(std::span(written)));
    std::vector<std::uint16_t> expected(elements);
    std::ranges::transform(stored, expected.begin(), bfloat16_bits);
    EXPECT_EQ(written, expected) << info.name;
  }
  const auto config = json_of(at.path() / "out" / "config.json");
  EXPECT_EQ(config.contains("dtype") ? config["dtype"] : config["torch_dtype"], "bfloat16");
}

TEST(Convert, MakesFloatsOfGgufBlocks) {
  const testing::TempFolder at;
  const fs::path gguf = kData / "gguf" / "tiny-quantized.gguf";
  convert(gguf.string(), at.path() / "out");
  const Checkpoint checkpoint = open_checkpoint(at.path() / "out");
  for (const TensorInfo& info : checkpoint.tensors()) {
    EXPECT_TRUE(is_floating(info.dtype)) << info.name;
  }
  const std::vector<float> expected = logits_of(gguf, {.dtype = "float32"});
  EXPECT_EQ(logits_of(at.path() / "out"), expected);
}

TEST(Convert, CutsShards) {
  const testing::TempFolder at;
  const fs::path out = at.path() / "out";
  const auto report = convert((kData / "tiny-llama").string(), out, {.max_shard_size = "200KB"});
  const auto index = json_of(out / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], report.written_bytes);
  EXPECT_EQ(index["weight_map"].size(), report.tensors);
  EXPECT_EQ(logits_of(out), logits_of(kData / "tiny-llama"));
}

TEST(Convert, DequantizesWhatBitsandbytesStored) {
  const testing::TempFolder at;
  const fs::path nf4 = kData / "quantized" / "bnb-tiny-nf4-dq";
  const auto report = convert(nf4.string(), at.path() / "out", {.load = {.dtype = "float32"}});
  EXPECT_GT(report.dequantized, 0U);
  EXPECT_FALSE(json_of(at.path() / "out" / "config.json").contains("quantization_config"));
}

TEST(Convert, LeavesNothingBehindWhereItFails) {
  const testing::TempFolder at;
  LoadOptions load;
  load.quantization_config = BitsAndBytesConfig{.load_in_4bit = true};
  EXPECT_THAT(testing::message_of<ArgumentError>([&] {
                convert((kData / "tiny-llama").string(), at.path() / "out", {.load = load});
              }),
              HasSubstr("quantize writes 8 and 4 bits"));
  EXPECT_THROW(convert((kData / "tiny-llama").string(), at.path() / "out", {.max_shard_size = "x"}),
               ArgumentError);
  EXPECT_TRUE(fs::is_empty(at.path()));
}

// One model as torch.save wrote it, in both forms and in shards, and as accelerate offloaded it:
// the very bits of the safetensors folder, wherever the weights live.

class StoredAs : public ::testing::TestWithParam<const char*> {};

TEST_P(StoredAs, GivesTheLogitsOfSafetensors) {
  const fs::path folder = kData / "torch" / (std::string("tiny-") + GetParam());
  const std::vector<float> expected = logits_of(kData / "torch" / "tiny-safetensors");
  EXPECT_EQ(logits_of(folder), expected);
  EXPECT_EQ(logits_of(folder, {.device_map = "disk"}), expected);
  const testing::TempFolder at;
  convert(folder.string(), at.path() / "out");
  EXPECT_EQ(logits_of(at.path() / "out"), expected);
  EXPECT_EQ(open_checkpoint(at.path() / "out").tensors().size(),
            open_checkpoint(kData / "torch" / "tiny-safetensors").tensors().size());
}
INSTANTIATE_TEST_SUITE_P(Formats, StoredAs,
                         ::testing::Values("zip", "legacy", "transposed", "sharded",
                                           "legacy-sharded", "offload"));

}  // namespace
}  // namespace shoehorn
