#include "checkpoint/model_path.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"

namespace shoehorn {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Environment environment(std::map<std::string, std::string> variables) {
  return [variables = std::move(variables)](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(HubCacheFolder, FollowsTheVariablesOfHuggingfaceHub) {
  const std::map<std::string, std::string> all = {{"HF_HUB_CACHE", "/a"},
                                                  {"HUGGINGFACE_HUB_CACHE", "/b"},
                                                  {"HF_HOME", "/c"},
                                                  {"XDG_CACHE_HOME", "/d"},
                                                  {"HOME", "/e"}};
  auto left = all;
  EXPECT_EQ(hub_cache_folder(environment(left)), "/a");
  left.erase("HF_HUB_CACHE");
  EXPECT_EQ(hub_cache_folder(environment(left)), "/b");
  left.erase("HUGGINGFACE_HUB_CACHE");
  EXPECT_EQ(hub_cache_folder(environment(left)), "/c/hub");
  left.erase("HF_HOME");
  EXPECT_EQ(hub_cache_folder(environment(left)), "/d/huggingface/hub");
  left.erase("XDG_CACHE_HOME");
  EXPECT_EQ(hub_cache_folder(environment(left)), "/e/.cache/huggingface/hub");
  left.erase("HOME");
  EXPECT_EQ(hub_cache_folder(environment(left)), "");
}

TEST(HubCacheFolder, ExpandsTheTilde) {
  EXPECT_EQ(hub_cache_folder(environment({{"HF_HOME", "~/hf"}, {"HOME", "/e"}})), "/e/hf/hub");
}

class ResolveModelPath : public ::testing::Test {
 protected:
  std::string refusal(const std::string& model) const {
    return testing::message_of<FileError>([&] { resolve_model_path(model, cache_.path()); });
  }
  const testing::TempFolder cache_;
};

TEST_F(ResolveModelPath, PrefersAFileThatIsThere) {
  const auto file = cache_.write("here/model.gguf", "");
  EXPECT_EQ(resolve_model_path(file.string(), cache_.path()), file);
}

TEST_F(ResolveModelPath, FindsTheSnapshotOfMain) {
  cache_.write("models--org--name/refs/main", "c0ffee\n");
  cache_.write("models--org--name/snapshots/c0ffee/config.json", "{}");
  EXPECT_EQ(resolve_model_path("org/name", cache_.path()),
            cache_.path() / "models--org--name/snapshots/c0ffee");
}

TEST_F(ResolveModelPath, FindsARepositoryWithoutOrganisation) {
  cache_.write("models--gpt2/refs/main", "c0ffee");
  cache_.write("models--gpt2/snapshots/c0ffee/config.json", "{}");
  EXPECT_EQ(resolve_model_path("gpt2", cache_.path()).filename(), "c0ffee");
}

TEST_F(ResolveModelPath, FindsABranch) {
  cache_.write("models--org--name/refs/refs/pr/7", "beef");
  cache_.write("models--org--name/snapshots/beef/config.json", "{}");
  EXPECT_EQ(resolve_model_path("org/name@refs/pr/7", cache_.path()).filename(), "beef");
}

TEST_F(ResolveModelPath, FindsACommit) {
  cache_.write("models--org--name/snapshots/beef/config.json", "{}");
  EXPECT_EQ(resolve_model_path("org/name@beef", cache_.path()).filename(), "beef");
}

TEST_F(ResolveModelPath, ListsWhereItLooked) {
  EXPECT_THAT(refusal("org/name"),
              AllOf(HasSubstr((std::filesystem::current_path() / "org/name").string()),
                    HasSubstr((cache_.path() / "models--org--name/refs/main").string()),
                    HasSubstr((cache_.path() / "models--org--name/snapshots/main").string())));
}

TEST_F(ResolveModelPath, LooksForAPathOnlyWhereItWouldBe) {
  EXPECT_THAT(refusal("./no/such/folder"), ::testing::Not(HasSubstr("models--")));
}

TEST_F(ResolveModelPath, NeverLeavesTheCache) {
  cache_.write("models--org--name/config.json", "{}");
  cache_.write("models--org--name/snapshots/c0ffee/config.json", "{}");
  EXPECT_THAT(refusal("org/name@.."), ::testing::Not(HasSubstr("models--")));
  EXPECT_THAT(refusal("org/name@snapshots/../.."), ::testing::Not(HasSubstr("models--")));
  cache_.write("models--org--name/refs/main", "..");
  EXPECT_THROW(resolve_model_path("org/name", cache_.path()), FormatError);
}

}  // namespace
}  // namespace shoehorn
