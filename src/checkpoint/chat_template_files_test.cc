#include "checkpoint/chat_template_files.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class FindChatTemplates : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const fs::path& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  fs::path folder_;
};

TEST_F(FindChatTemplates, TakesTheOneOfTokenizerConfig) {
  const auto found = find_chat_templates(folder_, R"({"chat_template": "A", "bos_token": "<s>"})");
  EXPECT_THAT(found.sources, ElementsAre(Pair("default", "A")));
  EXPECT_THAT(found.special_tokens, ElementsAre(Pair("bos_token", "<s>")));
}

TEST_F(FindChatTemplates, TakesNamedOnes) {
  const auto found =
      find_chat_templates(folder_, R"({"chat_template": [{"name": "default", "template": "D"},
                                     {"name": "tool_use", "template": "T"}]})");
  EXPECT_THAT(found.sources, ElementsAre(Pair("default", "D"), Pair("tool_use", "T")));
}

TEST_F(FindChatTemplates, FilesBeatTokenizerConfig) {
  write("chat_template.jinja", "F");
  write("additional_chat_templates/tool_use.jinja", "T");
  const auto found = find_chat_templates(folder_, R"({"chat_template": "A"})");
  EXPECT_THAT(found.sources, ElementsAre(Pair("default", "F"), Pair("tool_use", "T")));
}

TEST_F(FindChatTemplates, ReadsAddedTokenObjects) {
  const auto found = find_chat_templates(
      folder_, R"({"eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null})");
  EXPECT_THAT(found.special_tokens, ElementsAre(Pair("eos_token", "</s>")));
}

TEST_F(FindChatTemplates, SpecialTokensMapWinsWithoutAddedTokensDecoder) {
  write("special_tokens_map.json", R"({"eos_token": "<|im_end|>"})");
  EXPECT_THAT(
      find_chat_templates(folder_, R"({"eos_token": "a", "bos_token": "b"})").special_tokens,
      UnorderedElementsAre(Pair("eos_token", "<|im_end|>"), Pair("bos_token", "b")));
  EXPECT_THAT(find_chat_templates(folder_, R"({"eos_token": "a", "added_tokens_decoder": {}})")
                  .special_tokens,
              ElementsAre(Pair("eos_token", "a")));
}

TEST_F(FindChatTemplates, NothingThereIsNoError) {
  EXPECT_THAT(find_chat_templates(folder_, "").sources, IsEmpty());
  EXPECT_THAT(find_chat_templates({}, "{}").sources, IsEmpty());
}

TEST_F(FindChatTemplates, RefusesWhatIsNoTemplate) {
  for (const char* config :
       {"[]", "{", R"({"chat_template": 5})", R"({"chat_template": [{"name": "a"}]})",
        R"({"chat_template": [{"name": "a", "template": "x"}, {"name": "a", "template": "y"}]})",
        R"({"bos_token": 5})"}) {
    EXPECT_THROW(find_chat_templates(folder_, config), FormatError) << config;
  }
}

}  // namespace
}  // namespace shoehorn
