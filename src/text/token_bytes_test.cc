#include "text/token_bytes.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn {
namespace {

std::vector<std::optional<std::string>> bytes_of(const Tokenizer& tokenizer) {
  return token_bytes(tokenizer, static_cast<std::int64_t>(tokenizer.vocab_size()) + 3);
}
Tokenizer load(const char* name) {
  const auto path =
      std::filesystem::path(SHOEHORN_TEST_DATA) / "tokenizers" / name / "tokenizer.json";
  std::ifstream file(path, std::ios::binary);
  return Tokenizer::from_json(std::string(std::istreambuf_iterator<char>(file), {}), path);
}

/// The bytes of the tokens of a text, joined, are the text.
void expect_bytes_of_text(const Tokenizer& tokenizer, const std::string& text) {
  const auto bytes = bytes_of(tokenizer);
  // Behind another token, as generated text is: its first token may begin with a space.
  std::vector<std::int32_t> ids = tokenizer.encode("a" + text, {.add_special_tokens = false}).ids;
  const std::string whole = tokenizer.decode(ids);
  std::string joined;
  for (const std::int32_t id : ids) {
    ASSERT_TRUE(bytes[static_cast<std::size_t>(id)]) << id;
    joined += *bytes[static_cast<std::size_t>(id)];
  }
  // The beginning of a text may lose a space that its first token has.
  EXPECT_TRUE(joined == whole || joined == " " + whole) << joined << " | " << whole;
}

constexpr const char* kText = " b  c\n{\"x\": 1.5} na\xc3\xafve \xf0\x9f\x98\x80 \xe6\x97\xa5";

TEST(TokenBytes, JoinToTheTextOfByteLevelTokens) {
  expect_bytes_of_text(load("smollm2-135m"), kText);
}

TEST(TokenBytes, JoinToTheTextOfTokensWithByteFallback) {
  expect_bytes_of_text(load("llama2-legacy"), kText);
}

TEST(TokenBytes, AreMissingForSpecialTokensAndHoles) {
  const Tokenizer tokenizer = load("smollm2-135m");
  const auto bytes = bytes_of(tokenizer);
  EXPECT_FALSE(bytes[static_cast<std::size_t>(*tokenizer.token_to_id("<|im_end|>"))]);
  EXPECT_FALSE(bytes.back());
}

}  // namespace
}  // namespace shoehorn
