#include "checkpoint/gguf_pre_tokenizer.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"

namespace shoehorn::gguf {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Without what changes no ids: offsets, and version-dependent spelling of flags left at default.
nlohmann::json without_offsets(nlohmann::json part) {
  if (part.is_object()) part.erase("trim_offsets");
  if (part.contains("pretokenizers")) {
    for (nlohmann::json& child : part["pretokenizers"]) child.erase("trim_offsets");
  }
  return part;
}

// pre_tokenizers.json: what tokenizer.json files of the models behind each name say, taken from the
// tokenizer fixtures by make_goldens.py.
TEST(PreTokenizerNamed, EqualsTheTokenizerJsonOfTheModels) {
  std::ifstream file(SHOEHORN_TEST_DATA "/gguf/pre_tokenizers.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  EXPECT_EQ(golden.size(), 8U);
  for (const auto& [name, expected] : golden.items()) {
    const PreTokenizer found = pre_tokenizer_named(name, "m.gguf");
    EXPECT_EQ(without_offsets(nlohmann::json::parse(found.pre_tokenizer)),
              without_offsets(expected["pre_tokenizer"]))
        << name;
    EXPECT_EQ(nlohmann::json::parse(found.normalizer), expected["normalizer"]) << name;
    EXPECT_EQ(found.ignore_merges, expected["ignore_merges"].get<bool>()) << name;
  }
}

TEST(PreTokenizerNamed, SmollmSplitsDigits) {
  const auto json = nlohmann::json::parse(pre_tokenizer_named("smollm", "m.gguf").pre_tokenizer);
  EXPECT_EQ(json["pretokenizers"][0]["type"], "Digits");
  EXPECT_EQ(json["pretokenizers"][0]["individual_digits"], true);
  EXPECT_EQ(json["pretokenizers"][1]["use_regex"], true);
}

TEST(PreTokenizerNamed, Llama3AddsBosUnlessTold) {
  EXPECT_TRUE(pre_tokenizer_named("llama-bpe", "m.gguf").add_bos_token);
  EXPECT_FALSE(pre_tokenizer_named("qwen2", "m.gguf").add_bos_token);
}

TEST(PreTokenizerNamed, NamesTheUnknownOneAndTheKnown) {
  EXPECT_THAT(
      testing::message_of<UnsupportedError>([] { pre_tokenizer_named("klingon\n", "m.gguf"); }),
      AllOf(HasSubstr("m.gguf: tokenizer.ggml.pre is klingon\\x0a"), HasSubstr("smollm")));
}

}  // namespace
}  // namespace shoehorn::gguf
