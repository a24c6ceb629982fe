// Every tokenizer of tests/data/tokenizers against what Hugging Face's library answered: see the
// README there for how its files are to be read.
#include "shoehorn/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/detokenizer.h"

#include "base/file.h"

namespace shoehorn {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<std::int32_t>;
namespace fs = std::filesystem;

fs::path folder() {
  return fs::path(SHOEHORN_TEST_DATA) / "tokenizers";
}

std::vector<std::string> tokenizers_with(const std::string& file) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder())) {
    if (fs::exists(entry.path() / file)) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class Fixture : public testing::TestWithParam<std::string> {
 protected:
  Tokenizer load() const {
    const fs::path path = folder() / GetParam() / "tokenizer.json";
    return Tokenizer::from_json(read_text_file(path), path);
  }
  Json rows(const std::string& file) const {
    return Json::parse(read_text_file(folder() / GetParam() / file));
  }
};

class Cases : public Fixture {};

TEST_P(Cases, EncodeGivesTheSameIds) {
  const Tokenizer tokenizer = load();
  for (const Json& row : rows("cases.json")) {
    EXPECT_EQ(tokenizer.encode(row["text"].get<std::string>()).ids, row["ids"].get<Ids>())
        << row["text"];
  }
}

TEST_P(Cases, EncodeWithoutSpecialTokensGivesTheSameIds) {
  const Tokenizer tokenizer = load();
  for (const Json& row : rows("cases.json")) {
    const Encoding encoding =
        tokenizer.encode(row["text"].get<std::string>(), {.add_special_tokens = false});
    EXPECT_EQ(encoding.ids, row["ids_no_special"].get<Ids>()) << row["text"];
    EXPECT_EQ(encoding.type_ids.size(), encoding.ids.size());
  }
}

TEST_P(Cases, DecodeGivesTheSameText) {
  const Tokenizer tokenizer = load();
  for (const Json& row : rows("cases.json")) {
    EXPECT_EQ(tokenizer.decode(row["ids"].get<Ids>()), row["decoded"].get<std::string>())
        << row["text"];
  }
}

TEST_P(Cases, DecodeSkipsSpecialTokensById) {
  const Tokenizer tokenizer = load();
  for (const Json& row : rows("cases.json")) {
    const char* key = row.contains("decoded_skip_special_by_id") ? "decoded_skip_special_by_id"
                                                                 : "decoded_skip_special";
    EXPECT_EQ(tokenizer.decode(row["ids"].get<Ids>(), true), row[key].get<std::string>())
        << row["text"];
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, Cases, testing::ValuesIn(tokenizers_with("cases.json")),
                         test_name);

class RealCases : public Fixture {};

TEST_P(RealCases, EncodeGivesTheSameIds) {
  const Tokenizer tokenizer = load();
  for (const Json& row : rows("cases_real.json")) {
    const auto text = row["text"].get<std::string>();
    EXPECT_EQ(tokenizer.encode(text).ids, row["ids"].get<Ids>()) << row["text"];
    EXPECT_EQ(tokenizer.encode(text, {.add_special_tokens = false}).ids,
              row["ids_no_special"].get<Ids>())
        << row["text"];
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, RealCases,
                         testing::ValuesIn(tokenizers_with("cases_real.json")), test_name);

class Pairs : public Fixture {};

TEST_P(Pairs, EncodePairGivesTheSameIdsAndTypes) {
  const Tokenizer tokenizer = load();
  for (const Json& row : rows("pairs.json")) {
    const auto a = row["a"].get<std::string>();
    const auto b = row["b"].get<std::string>();
    const Encoding encoding = tokenizer.encode_pair(a, b);
    EXPECT_EQ(encoding.ids, row["ids"].get<Ids>());
    EXPECT_EQ(encoding.type_ids, row["type_ids"].get<Ids>());
    EXPECT_EQ(tokenizer.encode_pair(a, b, {.add_special_tokens = false}).ids,
              row["ids_no_special"].get<Ids>());
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, Pairs, testing::ValuesIn(tokenizers_with("pairs.json")),
                         test_name);

class Streams : public Fixture {};

TEST_P(Streams, PushGivesExactlyWhatIsCertain) {
  const Tokenizer tokenizer = load();
  for (const Json& row : rows("stream.json")) {
    const Ids ids = row["ids"].get<Ids>();
    const bool skip = row["skip_special"].get<bool>();
    DetokenizerStream stream(tokenizer, skip, SkipRule::kByText);
    std::vector<std::string> pieces;
    for (const std::int32_t id : ids) pieces.push_back(stream.push(id));
    EXPECT_EQ(pieces, row["pieces"].get<std::vector<std::string>>()) << row;
    EXPECT_EQ(stream.flush(), row["flush"].get<std::string>()) << row;
  }
}

TEST_P(Streams, PiecesJoinedAreWhatDecodeGives) {
  const Tokenizer tokenizer = load();
  for (const Json& row : rows("stream.json")) {
    const Ids ids = row["ids"].get<Ids>();
    const bool skip = row["skip_special"].get<bool>();
    if (!skip) {
      EXPECT_EQ(tokenizer.decode(ids), row["text"].get<std::string>()) << row;
    }
    DetokenizerStream stream(tokenizer, skip);
    std::string text;
    for (const std::int32_t id : ids) text += stream.push(id);
    EXPECT_EQ(text + stream.flush(), tokenizer.decode(ids, skip)) << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, Streams, testing::ValuesIn(tokenizers_with("stream.json")),
                         test_name);

}  // namespace
}  // namespace shoehorn
