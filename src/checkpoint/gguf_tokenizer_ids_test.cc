// GGUF metadata all the way to ids, against the libraries whose models the metadata describes.
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/tokenizer.h"

#include "checkpoint/gguf_reader.h"
#include "checkpoint/gguf_tokenizer.h"

namespace shoehorn::gguf {
namespace {

void expect_recorded_ids(const std::string& name) {
  const std::string folder = SHOEHORN_TEST_DATA "/gguf/";
  const File file(folder + name + ".gguf");
  const TokenizerFiles files = tokenizer_files(read_header(source_of(file)).metadata);
  const Tokenizer tokenizer = Tokenizer::from_json(files.tokenizer_json, file.path());
  std::ifstream golden(folder + "ids.json");
  const nlohmann::json cases = nlohmann::json::parse(golden).at(name);
  ASSERT_GT(cases.size(), 50U);
  for (const nlohmann::json& one : cases) {
    const auto text = one["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text).ids, one["ids"].get<std::vector<std::int32_t>>()) << text;
  }
}

TEST(TokenizerFilesIds, OfByteLevelBpeAreThoseOfTokenizers) {
  expect_recorded_ids("byte-level");
}

TEST(TokenizerFilesIds, OfScoresAreThoseOfSentencePiece) {
  expect_recorded_ids("sentencepiece");
}

}  // namespace
}  // namespace shoehorn::gguf
