#include "checkpoint/gguf.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/testing_files.h"
#include "checkpoint/testing_gguf.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::llama_builder;
using testing::message_of;
using testing::TempFolder;

constexpr std::uint32_t kF32 = 0;

fs::path golden(const std::string& name) {
  return fs::path(SHOEHORN_TEST_DATA) / "gguf" / name;
}

std::vector<std::byte> bytes_of(const Checkpoint::Parts& parts, const TensorInfo& tensor) {
  std::vector<std::byte> bytes(tensor.bytes);
  parts.files[tensor.file].read_at(tensor.offset, bytes);
  return bytes;
}

std::string fnv1a(const std::vector<std::byte>& bytes) {
  std::uint64_t digest = 0xCBF29CE484222325;
  for (const std::byte byte : bytes) {
    digest = (digest ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001B3;
  }
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, digest >>= 4) text[i] = "0123456789abcdef"[digest & 15];
  return text;
}

/// What make_goldens.py remembers of the tensors it wrote with the gguf package.
void expect_tensors_as_written(const std::string& model, const Checkpoint::Parts& parts) {
  std::ifstream file(golden("expected.json"));
  const nlohmann::json expected = nlohmann::json::parse(file).at(model);
  ASSERT_EQ(parts.tensors.size(), expected.size());
  for (const TensorInfo& tensor : parts.tensors) {
    ASSERT_TRUE(expected.contains(tensor.name)) << tensor.name;
    const nlohmann::json& written = expected[tensor.name];
    EXPECT_EQ(to_string(tensor.dtype), written["dtype"].get<std::string>()) << tensor.name;
    EXPECT_EQ(std::vector<std::int64_t>(tensor.shape.begin(), tensor.shape.end()),
              written["shape"].get<std::vector<std::int64_t>>())
        << tensor.name;
    EXPECT_EQ(tensor.row_order.interleaved_heads, written["heads"].get<std::int64_t>())
        << tensor.name;
    EXPECT_EQ(fnv1a(bytes_of(parts, tensor)), written["fnv1a"].get<std::string>()) << tensor.name;
  }
}

TEST(OpenGguf, FindsEveryTensorOfAQuantizedModel) {
  expect_tensors_as_written("tiny-quantized", open_gguf(golden("tiny-quantized.gguf")));
}

TEST(OpenGguf, FindsEveryTensorOfAFloatModel) {
  expect_tensors_as_written("tiny-f32", open_gguf(golden("tiny-f32.gguf")));
}

TEST(OpenGguf, FindsEveryTensorOfASplitModel) {
  const Checkpoint::Parts parts = open_gguf(golden("tiny-split-00001-of-00003.gguf"));
  EXPECT_EQ(parts.files.size(), 3U);
  expect_tensors_as_written("tiny-split", parts);
}

TEST(OpenGguf, OpensTheFirstPartForAnotherAndSaysSo) {
  const Checkpoint::Parts parts = open_gguf(golden("tiny-split-00002-of-00003.gguf"));
  EXPECT_EQ(parts.tensors.size(), 11U);
  EXPECT_THAT(parts.notes, ElementsAre(HasSubstr("tiny-split-00002-of-00003.gguf is part 2 of 3")));
}

// The q bias of the golden file says of each value which row it was before the converter.
TEST(OpenGguf, RowOrderUndoesWhatTheConverterDid) {
  const Checkpoint::Parts parts = open_gguf(golden("tiny-f32.gguf"));
  int checked = 0;
  for (const TensorInfo& tensor : parts.tensors) {
    if (!tensor.name.ends_with("q_proj.bias") && !tensor.name.ends_with("k_proj.bias")) continue;
    ++checked;
    const std::vector<std::byte> bytes = bytes_of(parts, tensor);
    const std::int64_t rows = tensor.shape[0];
    for (std::int64_t row = 0; row < rows; ++row) {
      float value = 0;
      std::memcpy(&value, bytes.data() + 4 * stored_row(tensor.row_order, rows, row),
                  sizeof(value));
      EXPECT_EQ(value, static_cast<float>(row)) << tensor.name;
    }
  }
  EXPECT_EQ(checked, 2);
}

TEST(OpenGguf, MakesConfigAndTokenizerOfTheMetadata) {
  const Checkpoint::Parts parts = open_gguf(golden("tiny-f32.gguf"));
  const auto config = nlohmann::json::parse(parts.config_json);
  EXPECT_EQ(config["num_key_value_heads"], 2);
  EXPECT_EQ(config["vocab_size"], 297);
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_EQ(config["attention_bias"], true);
  EXPECT_EQ(config["rope_scaling"]["original_max_position_embeddings"], 64);
  EXPECT_EQ(nlohmann::json::parse(parts.generation_config_json)["eos_token_id"], 2);
  EXPECT_EQ(nlohmann::json::parse(parts.tokenizer_json)["model"]["vocab"].size(), 297U);
  EXPECT_EQ(nlohmann::json::parse(parts.tokenizer_config_json)["unk_token"], "<unk>");
}

/// A file with the keys that `name` needs: hidden size 8, `kv` of 4 heads.
GgufBuilder builder_of(const std::string& name, std::uint32_t kv) {
  GgufBuilder builder;
  builder.string("general.architecture", name)
      .uint32(name + ".block_count", 1)
      .uint32(name + ".context_length", 16)
      .uint32(name + ".embedding_length", 8)
      .uint32(name + ".feed_forward_length", 8)
      .uint32(name + ".attention.head_count", 4)
      .uint32(name + ".attention.head_count_kv", kv)
      .float32(name + ".attention.layer_norm_epsilon", 1e-5F)
      .float32(name + ".attention.layer_norm_rms_epsilon", 1e-5F)
      .uint32(name + ".vocab_size", 7);
  return builder;
}

TEST(OpenGguf, ShowsGpt2sMatricesAsConv1dHasThem) {
  const TempFolder folder;
  GgufBuilder builder = builder_of("gpt2", 4);
  builder.tensor("blk.0.attn_qkv.weight", {8, 24}, kF32, 0);
  builder.tensor("blk.0.attn_qkv.bias", {24}, kF32, 768);
  const Checkpoint::Parts parts = open_gguf(folder.write("m.gguf", builder.build(864)));
  const TensorInfo& weight = parts.tensors.at(0);
  EXPECT_EQ(weight.name, "transformer.h.0.attn.c_attn.weight");
  EXPECT_EQ(weight.shape, (Shape{8, 24}));
  EXPECT_THAT(weight.strides, ElementsAre(1, 8));
  EXPECT_EQ(parts.tensors.at(1).shape, (Shape{24}));
  EXPECT_TRUE(parts.tensors.at(1).strides.empty());
}

// Hugging Face has groups of two queries, a key and a value; files have q0 q1 q2 q3 k0 k1 v0 v1.
TEST(OpenGguf, UndoesTheSortingOfFalconsHeads) {
  const TempFolder folder;
  GgufBuilder builder = builder_of("falcon", 2);
  builder.tensor("blk.0.attn_qkv.weight", {8, 16}, kF32, 0);
  const Checkpoint::Parts parts = open_gguf(folder.write("m.gguf", builder.build(512)));
  const TensorInfo& weight = parts.tensors.at(0);
  std::vector<std::int64_t> heads;
  for (std::int64_t row = 0; row < 16; row += 2) {
    heads.push_back(stored_row(weight.row_order, 16, row) / 2);
    EXPECT_EQ(stored_row(weight.row_order, 16, row + 1), 2 * heads.back() + 1);
  }
  EXPECT_THAT(heads, ElementsAre(0, 1, 4, 6, 2, 3, 5, 7));
}

TEST(OpenGguf, LeavesFalconsSingleGroupAsItIs) {
  const TempFolder folder;
  GgufBuilder builder = builder_of("falcon", 1);
  builder.tensor("blk.0.attn_qkv.weight", {8, 12}, kF32, 0);
  const Checkpoint::Parts parts = open_gguf(folder.write("m.gguf", builder.build(384)));
  EXPECT_EQ(parts.tensors.at(0).row_order, RowOrder{});
}

TEST(OpenGguf, RefusesRowsThatMakeNoQueriesKeysAndValues) {
  const TempFolder folder;
  GgufBuilder builder = builder_of("falcon", 2);
  builder.tensor("blk.0.attn_qkv.weight", {8, 12}, kF32, 0);
  const fs::path file = folder.write("m.gguf", builder.build(384));
  EXPECT_THAT(message_of<FormatError>([&] { open_gguf(file); }),
              HasSubstr("blk.0.attn_qkv.weight [12, 8]: its rows do not make 8 heads"));
}

/// A Mixtral of three experts, `said` of them in the metadata.
GgufBuilder mixtral_builder(std::uint32_t said) {
  GgufBuilder builder = builder_of("llama", 2);
  builder.uint32("llama.expert_count", said).uint32("llama.expert_used_count", 2);
  builder.tensor("blk.0.ffn_gate_inp.weight", {8, 3}, kF32, 0);
  builder.tensor("blk.0.ffn_up_exps.weight", {8, 4, 3}, kF32, 96);
  return builder;
}

TEST(OpenGguf, NamesEachExpertOfAStack) {
  const TempFolder folder;
  const Checkpoint::Parts parts = open_gguf(folder.write("m.gguf", mixtral_builder(3).build(480)));
  ASSERT_EQ(parts.tensors.size(), 4U);
  EXPECT_EQ(parts.tensors.at(0).name, "model.layers.0.block_sparse_moe.gate.weight");
  for (std::size_t expert = 0; expert < 3; ++expert) {
    const TensorInfo& matrix = parts.tensors.at(expert + 1);
    EXPECT_EQ(matrix.name,
              str_cat("model.layers.0.block_sparse_moe.experts.", expert, ".w3.weight"));
    EXPECT_EQ(matrix.shape, (Shape{4, 8}));
    EXPECT_EQ(matrix.bytes, 128U);
    EXPECT_EQ(matrix.offset, parts.tensors.at(0).offset + 96 + 128 * expert);
  }
}

TEST(OpenGguf, RefusesAnotherNumberOfExpertsThanTheMetadataSays) {
  const TempFolder folder;
  const fs::path file = folder.write("m.gguf", mixtral_builder(4).build(480));
  EXPECT_THAT(message_of<FormatError>([&] { open_gguf(file); }),
              HasSubstr("experts.*.w3.weight [3, 4, 8]: llama.expert_count is 4"));
}

TEST(OpenGguf, RefusesEmptyExperts) {
  const TempFolder folder;
  GgufBuilder builder = builder_of("llama", 2);
  builder.uint32("llama.expert_count", 60000).uint32("llama.expert_used_count", 2);
  builder.tensor("blk.0.ffn_gate_inp.weight", {8, 3}, kF32, 0);
  builder.tensor("blk.0.ffn_up_exps.weight", {8, 0, 60000}, kF32, 96);
  const fs::path file = folder.write("m.gguf", builder.build(480));
  EXPECT_THAT(message_of<FormatError>([&] { open_gguf(file); }),
              HasSubstr("experts.*.w3.weight [60000, 0, 8]"));
}

TEST(OpenGguf, KeepsTheNamesOfTensorsItDoesNotKnow) {
  const TempFolder folder;
  GgufBuilder builder = llama_builder();
  builder.tensor("mystery.weight", {8}, kF32, 0);
  const Checkpoint::Parts parts = open_gguf(folder.write("m.gguf", builder.build(32)));
  EXPECT_EQ(parts.tensors.at(0).name, "mystery.weight");
}

TEST(OpenGguf, RefusesQueriesThatMakeNoHeads) {
  const TempFolder folder;
  GgufBuilder builder = llama_builder();
  builder.tensor("blk.0.attn_q.weight", {32, 12}, kF32, 0);
  const fs::path file = folder.write("m.gguf", builder.build(1536));
  EXPECT_THAT(
      message_of<FormatError>([&] { open_gguf(file); }),
      HasSubstr("blk.0.attn_q.weight [12, 32]: its rows do not make 4 heads of an even size"));
}

TEST(OpenGguf, NamesArchitecturesItDoesNotKnow) {
  const TempFolder folder;
  GgufBuilder builder;
  builder.string("general.architecture", "mamba");
  const fs::path file = folder.write("m.gguf", builder.build());
  EXPECT_THAT(message_of<UnsupportedError>([&] { open_gguf(file); }),
              HasSubstr("general.architecture is mamba"));
}

TEST(OpenGguf, RefusesRopeDivisorsOfAnotherType) {
  const TempFolder folder;
  GgufBuilder builder = llama_builder();
  builder.tensor("rope_freqs.weight", {4}, 1, 0);
  const fs::path file = folder.write("m.gguf", builder.build(32));
  EXPECT_THAT(message_of<UnsupportedError>([&] { open_gguf(file); }),
              HasSubstr("tensor rope_freqs.weight is F16 [4]"));
}

/// One of `count` parts with one tensor.
std::string part(std::uint32_t number, std::uint32_t count, const std::string& tensor) {
  GgufBuilder builder = llama_builder();
  builder.uint32("split.no", number).uint32("split.count", count).tensor(tensor, {8}, kF32, 0);
  return builder.build(32);
}

TEST(OpenGguf, NamesTheMissingPart) {
  const TempFolder folder;
  const fs::path file = folder.write("m-00001-of-00002.gguf", part(0, 2, "a"));
  EXPECT_THAT(message_of<FileError>([&] { open_gguf(file); }), HasSubstr("m-00002-of-00002.gguf"));
}

TEST(OpenGguf, RefusesPartsInEachOthersPlace) {
  const TempFolder folder;
  const fs::path file = folder.write("m-00001-of-00002.gguf", part(0, 2, "a"));
  folder.write("m-00002-of-00002.gguf", part(0, 2, "b"));
  EXPECT_THAT(message_of<FormatError>([&] { open_gguf(file); }),
              HasSubstr("m-00002-of-00002.gguf: split.no 0 of 2 where the name asks for 1 of 2"));
}

TEST(OpenGguf, RefusesATensorInTwoParts) {
  const TempFolder folder;
  const fs::path file = folder.write("m-00001-of-00002.gguf", part(0, 2, "same"));
  folder.write("m-00002-of-00002.gguf", part(1, 2, "same"));
  EXPECT_THAT(message_of<FormatError>([&] { open_gguf(file); }),
              HasSubstr("tensor same is also in m-00001-of-00002.gguf"));
}

TEST(OpenGguf, RefusesPartsUnderOtherNames) {
  const TempFolder folder;
  const fs::path file = folder.write("m.gguf", part(0, 2, "a"));
  EXPECT_THAT(message_of<FormatError>([&] { open_gguf(file); }),
              HasSubstr("split.count says 2 files; their names end in -00001-of-00002.gguf"));
}

TEST(OpenGguf, RefusesPartsThatMissTensors) {
  const TempFolder folder;
  GgufBuilder first = llama_builder();
  first.uint32("split.no", 0).uint32("split.count", 2).uint32("split.tensors.count", 3);
  const fs::path file = folder.write("m-00001-of-00002.gguf", first.build());
  folder.write("m-00002-of-00002.gguf", part(1, 2, "b"));
  EXPECT_THAT(message_of<FormatError>([&] { open_gguf(file); }),
              HasSubstr("split.tensors.count: 3, but the 2 files have 1 tensors"));
}

}  // namespace
}  // namespace shoehorn
