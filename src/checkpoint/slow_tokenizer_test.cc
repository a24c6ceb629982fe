// Folders without a tokenizer.json against what transformers' AutoTokenizer makes of them:
// tests/data/slow-tokenizers, recorded by tests/parity/record_slow_tokenizers.py.
#include "checkpoint/slow_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/error.h"
#include "shoehorn/tokenizer.h"

#include "base/file.h"
#include "checkpoint/sentencepiece_model.h"

namespace shoehorn {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;
using Ids = std::vector<std::int32_t>;
namespace fs = std::filesystem;

fs::path data() {
  return fs::path(SHOEHORN_TEST_DATA) / "slow-tokenizers";
}

std::string read_if_there(const fs::path& path) {
  return fs::exists(path) ? read_text_file(path) : std::string();
}

Tokenizer load(const fs::path& folder) {
  return Tokenizer::from_json(
      slow_tokenizer_json(folder, read_if_there(folder / "tokenizer_config.json"),
                          read_if_there(folder / "config.json")),
      folder);
}

std::vector<std::string> folders() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(data())) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class SlowTokenizerJson : public testing::TestWithParam<std::string> {};

TEST_P(SlowTokenizerJson, GivesTheIdsAndTextsOfTransformers) {
  const Tokenizer tokenizer = load(data() / GetParam());
  const auto cases = nlohmann::json::parse(read_text_file(data() / GetParam() / "cases.json"));
  ASSERT_GT(cases.size(), 50U);
  for (const auto& row : cases) {
    const std::string text = row["text"];
    const Ids ids = row["ids"];
    EXPECT_EQ(tokenizer.encode(text).ids, ids) << row["text"];
    EXPECT_EQ(tokenizer.encode(text, {.add_special_tokens = false}).ids,
              row["ids_no_special"].get<Ids>())
        << row["text"];
    EXPECT_EQ(tokenizer.decode(ids), row["decoded"].get<std::string>()) << row["text"];
  }
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(SlowTokenizer, SlowTokenizerJson, testing::ValuesIn(folders()), test_name);

/// A folder that is gone after the test.
class SlowFiles : public testing::Test {
 protected:
  SlowFiles() {
    folder_ = fs::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::create_directories(folder_);
  }
  ~SlowFiles() override { fs::remove_all(folder_); }
  void write(const char* name, std::string_view text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  std::string json(const std::string& settings, const std::string& config = "") const {
    return slow_tokenizer_json(folder_, settings, config);
  }
  fs::path folder_;
};

// transformers adds the tokens of additional_special_tokens once more, as texts without flags: what
// added_tokens_decoder says of their white space is forgotten.
TEST(SlowTokenizer, ExtraTokensLoseTheirFlags) {
  const fs::path folder = data() / "qwen2";
  const auto read = [&](const char* name) { return read_text_file(folder / name); };
  const Tokenizer tokenizer = Tokenizer::from_json(
      slow_tokenizer_json(folder, read("tokenizer_config.json"), read("config.json")), folder);
  const Ids ids = tokenizer.encode("<|im_start|>  a", {.add_special_tokens = false}).ids;
  EXPECT_EQ(ids, (Ids{1001, 220, 266}));
}

// transformers' own classes keep the model's scores; those of other models go through JSON, which
// the tokenizers library reads with an error in the last place: of sixteen a's and five, it
// decides.
TEST(SlowTokenizer, ScoresAreExactForClassesThatTransformersKnows) {
  const Tokenizer alone = load(data() / "unigram-alone");
  EXPECT_EQ(alone.encode("aaaaaaaaaaaaaaaaaaaaa", {.add_special_tokens = false}).ids,
            (Ids{262, 262, 262, 262, 347, 262}));
  for (const auto& [name, exact] :
       {std::pair{"t5", true}, {"xlm-roberta", true}, {"unigram-alone", false}}) {
    const fs::path folder = data() / name;
    const std::string json =
        slow_tokenizer_json(folder, read_if_there(folder / "tokenizer_config.json"), "");
    EXPECT_EQ(json.find("\"exact_scores\":true") != json.npos, exact) << name;
  }
}

constexpr const char* kGpt2 = R"({"tokenizer_class": "GPT2TokenizerFast"})";

TEST_F(SlowFiles, NothingWithoutAVocabulary) {
  EXPECT_EQ(json(kGpt2), "");
}

TEST_F(SlowFiles, NamesTheClassesItKnowsForOneThatItDoesNot) {
  write("vocab.txt", "a\n");
  EXPECT_THAT([&] { json(R"({"tokenizer_class": "AlbertTokenizer"})"); },
              ThrowsMessage<UnsupportedError>(
                  testing::AllOf(HasSubstr("AlbertTokenizer"), HasSubstr("BertTokenizer"))));
}

TEST_F(SlowFiles, NamesTheFileThatAClassNeeds) {
  write("vocab.txt", "a\n");
  EXPECT_THAT([&] { json(kGpt2); }, ThrowsMessage<FormatError>(HasSubstr("merges.txt")));
}

TEST_F(SlowFiles, RefusesMergesThatAreNotTwoTokens) {
  write("vocab.json", R"({"a": 0})");
  write("merges.txt", "#version: 0.2\na b c\n");
  EXPECT_THAT([&] { json(kGpt2); }, ThrowsMessage<FormatError>(testing::AllOf(
                                        HasSubstr("merges.txt"), HasSubstr("line 2"))));
}

TEST_F(SlowFiles, RefusesAVocabularyThatIsNoObjectOfIds) {
  write("merges.txt", "");
  for (const char* text : {"[1]", R"({"a": -1})", R"({"a": "b"})", R"({"a": 4294967296})", "{"}) {
    write("vocab.json", text);
    EXPECT_THAT([&] { json(kGpt2); }, ThrowsMessage<FormatError>(HasSubstr("vocab.json"))) << text;
  }
}

TEST_F(SlowFiles, RefusesSettingsThatAreNotJson) {
  write("vocab.txt", "a\n");
  EXPECT_THAT([&] { json("{"); }, ThrowsMessage<FormatError>(HasSubstr("tokenizer_config.json")));
  EXPECT_THROW(json(R"({"added_tokens_decoder": {"x": {"content": "a"}}})"), FormatError);
  EXPECT_THROW(json(R"({"added_tokens_decoder": {"1": {"content": ""}}})"), FormatError);
}

TEST_F(SlowFiles, WordsMayEndInWhiteSpaceAndCarriageReturns) {
  write("vocab.txt", "[UNK]\r\n[CLS]\n[SEP] \t\nhi\n##there\xE3\x80\x80\n");
  const Tokenizer tokenizer = Tokenizer::from_json(json("", R"({"model_type": "bert"})"), folder_);
  EXPECT_THAT(tokenizer.encode("HiThere").ids, ElementsAre(1, 3, 4, 2));
}

// The wire format: key = number << 3 | type, then a varint, a length and bytes, or 4 or 8 bytes.
std::string piece(std::string_view text) {
  std::string inner = "\x0A";
  inner += static_cast<char>(text.size());
  inner += text;
  std::string out = "\x0A";
  out += static_cast<char>(inner.size());
  return out + inner;
}

TEST(ParseModel, ReadsPiecesAndKeepsTheDefaults) {
  const std::string bytes = piece("a") + piece("bc");
  const sentencepiece::Model model = sentencepiece::parse_model(bytes, "m");
  ASSERT_EQ(model.pieces.size(), 2U);
  EXPECT_EQ(model.pieces[1].text, "bc");
  EXPECT_EQ(model.pieces[1].type, sentencepiece::PieceType::kNormal);
  EXPECT_TRUE(model.add_dummy_prefix);
  EXPECT_EQ(model.pad_id, -1);
}

TEST(ParseModel, SkipsFieldsThatItDoesNotKnow) {
  const std::string bytes = std::string("\x52\x01x\x58\x05\x61", 6) + "12345678" + piece("a");
  EXPECT_EQ(sentencepiece::parse_model(bytes, "m").pieces.size(), 1U);
}

TEST(ParseModel, RefusesWhatIsCutOffOrNoModel) {
  const std::string_view bad[] = {
      "",                      // no pieces
      "\x0A",                  // no length
      "\x0A\x05\x0A",          // five bytes, one there
      "\x0A\x02\x0A\x00",      // an empty piece (cut at the NUL: a length missing)
      "\x0B",                  // a group
      "\x0A\x03\x0A\x01\xFF",  // not UTF-8
      "\x08\x01",              // pieces as a number
      "\x0A\x05\x0A\x01"
      "a"
      "\x18\x07",  // a type that is not known
      "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01",
      "hello",
  };
  for (const std::string_view bytes : bad) {
    EXPECT_THAT([&] { sentencepiece::parse_model(bytes, "the.model"); },
                ThrowsMessage<FormatError>(HasSubstr("the.model")))
        << testing::PrintToString(bytes);
  }
}

TEST(ParseModel, RefusesScoresThatAreNotFinite) {
  const std::string bytes(
      "\x0A\x08\x0A\x01"
      "a"
      "\x15\x00\x00\x80\x7F",
      10);
  EXPECT_THAT([&] { sentencepiece::parse_model(bytes, "m"); },
              ThrowsMessage<FormatError>(HasSubstr("finite")));
}

}  // namespace
}  // namespace shoehorn
