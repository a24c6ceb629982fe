// Conversations through the public headers: what a turn computes, what a full context means, and
// prompt caches.

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "shoehorn/shoehorn.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr const char* kTemplate =
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
    "{% if tools %}{{ tools | length }}{% endif %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}";

Model tiny(const LoadOptions& options = {}) {
  return from_pretrained((fs::path(SHOEHORN_TEST_DATA) / "tiny-llama").string(), options);
}

ChatOptions chatting(std::int64_t max_new_tokens = 8) {
  return {.generate = {.max_new_tokens = max_new_tokens, .ignore_eos = true},
          .chat_template = kTemplate};
}

std::string text_of(Generation& generation) {
  for (std::string piece; generation.next(piece);) {
  }
  return generation.text();
}

class Scratch : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(::testing::TempDir()) /
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST(Chat, ComputesOnlyWhatIsNew) {
  const Model model = tiny();
  Chat chat(model, chatting());
  chat.set_system("be brief");
  Generation& first = chat.say("one");
  text_of(first);
  EXPECT_EQ(first.stats().cached_tokens, 0);
  const std::int64_t held = chat.position();
  Generation& second = chat.say("two");
  const std::string reply = text_of(second);
  // The reply's text may be cut into other ids than it was made of; what came before it is held.
  const std::int64_t cached = second.stats().cached_tokens;
  EXPECT_GT(cached, held - 10);
  EXPECT_LE(cached, held);

  Chat fresh(model, chatting());
  nlohmann::json conversation = nlohmann::json::parse(chat.conversation_json());
  conversation["messages"].erase(4);  // the second reply
  fresh.set_conversation(conversation.dump());
  EXPECT_TRUE(fresh.ends_with_user());
  EXPECT_EQ(text_of(fresh.reply()), reply);
}

TEST(Chat, ForgetsAQuestionThatWasStoppedBeforeItsAnswer) {
  const Model model = tiny();
  Chat chat(model, chatting());
  Generation& generation = chat.say("one");
  generation.cancel();
  EXPECT_EQ(text_of(generation), "");
  EXPECT_EQ(generation.finish_reason(), FinishReason::kCancelled);
  EXPECT_EQ(chat.messages(), 0U);
  EXPECT_EQ(chat.position(), 0);
}

TEST(Chat, KeepsAReplyThatWasStoppedAsFarAsItCame) {
  const Model model = tiny();
  Chat chat(model, chatting(50));
  Generation& generation = chat.say("one");
  std::string piece;
  generation.next(piece);
  generation.cancel();
  const std::string text = text_of(generation);
  EXPECT_EQ(chat.messages(), 2U);
  EXPECT_EQ(nlohmann::json::parse(chat.conversation_json())["messages"][1]["content"], text);
}

TEST(Chat, AFullContextIsAnErrorThatNamesTheOption) {
  const Model model = tiny();
  ChatOptions options = chatting();
  options.capacity = 60;
  Chat chat(model, options);
  text_of(chat.say("hi"));
  const std::string long_text(400, 'x');
  EXPECT_THAT([&] { chat.say(long_text); }, ThrowsMessage<PlanError>(HasSubstr("--max-context")));
  EXPECT_EQ(chat.messages(), 2U);
  chat.clear();
  EXPECT_EQ(chat.messages(), 0U);
  text_of(chat.say("hi"));
}

TEST(Chat, ShiftsOutTheOldestTurns) {
  const Model model = tiny();
  ChatOptions options = chatting();
  options.capacity = 120;
  options.context_shift = true;
  Chat chat(model, options);
  chat.set_system("SYSTEM");
  for (int turn = 0; turn < 12; ++turn) {
    Generation& generation = chat.say("question " + std::to_string(turn));
    text_of(generation);
    EXPECT_EQ(generation.ids().size(), 8U) << turn;
    EXPECT_LE(generation.stats().prompt_tokens + 8, 120 + 1) << turn;
  }
  EXPECT_GT(chat.left_out(), 0U);
  EXPECT_EQ(chat.left_out() % 2, 0U);
  const std::string prompt = chat.prompt();
  EXPECT_THAT(prompt, HasSubstr("[system]SYSTEM\n[user]question"));
  EXPECT_EQ(prompt.find("question 0\n"), std::string::npos);
  EXPECT_EQ(chat.messages(), 25U);
  // Not even the last turn alone.
  EXPECT_THAT([&] { chat.say(std::string(2000, 'x')); },
              ThrowsMessage<PlanError>(HasSubstr("--max-context")));
}

TEST(Chat, GivesTheTemplateItsVariables) {
  const Model model = tiny();
  ChatOptions options = chatting();
  options.tools = R"([{"a": 1}, {"b": 2}])";
  Chat chat(model, options);
  chat.add_message({"user", "x"});
  EXPECT_EQ(chat.prompt(), "[user]x\n2[assistant]");
  chat.set_system("s");
  chat.set_system("t");
  EXPECT_EQ(chat.prompt(), "[system]t\n[user]x\n2[assistant]");
  chat.set_system("");
  EXPECT_EQ(chat.prompt(), "[user]x\n2[assistant]");
  chat.set_conversation(R"({"messages": [{"role": "user", "content": "y"}], "other": 1})");
  EXPECT_EQ(nlohmann::json::parse(chat.conversation_json())["other"], 1);
}

TEST(Chat, RefusesConversationsThatAreNone) {
  const Model model = tiny();
  Chat chat(model, chatting());
  chat.add_message({"user", "x"});
  for (const std::string& json :
       {std::string("{"), std::string("5"), std::string("{}"), std::string(R"([{"content": "x"}])"),
        std::string(R"([{"role": 5}])"), std::string(R"({"messages": 5})"),
        std::string(100000, '[')}) {
    EXPECT_THROW(chat.set_conversation(json), FormatError) << json.substr(0, 40);
  }
  EXPECT_EQ(chat.messages(), 1U);
  ChatOptions options = chatting();
  options.template_variables = "[]";
  EXPECT_THROW(Chat(model, options), FormatError);
  options = {};
  EXPECT_THROW(Chat(model, options), UnsupportedError);  // tiny-llama has no template
}

TEST(Session, APassThatWasCancelledLeavesNoTrace) {
  const Model model = tiny();
  Session session = model.new_session(16);
  const std::vector<std::int32_t> ids = {1, 2, 3};
  const std::vector<float> before(session.forward(ids).begin(), session.forward(ids).end());
  session.truncate(3);
  std::atomic<bool> cancelled{true};
  session.cancel_by(&cancelled);
  EXPECT_THROW(session.forward(ids), CancelledError);
  EXPECT_EQ(session.position(), 3);
  cancelled = false;
  const auto again = session.forward(ids);
  EXPECT_TRUE(std::equal(again.begin(), again.end(), before.begin()));
}

TEST_F(Scratch, PromptCacheGivesTheSameLogits) {
  const std::vector<std::int32_t> ids = {1, 5, 9, 3};
  const std::vector<std::int32_t> next = {7};
  const Model model = tiny();
  Session session = model.new_session(16);
  session.forward(ids);
  model.save_session(folder_ / "cache", session, ids);
  const std::vector<float> expected(session.forward(next).begin(), session.forward(next).end());
  // Another process, another map, another capacity.
  const Model other = tiny({.device_map = "disk"});
  Session loaded = other.new_session(9);
  EXPECT_EQ(other.load_session(folder_ / "cache", loaded), ids);
  EXPECT_EQ(loaded.position(), 4);
  loaded.forward(next);
  const auto logits = loaded.forward(next);
  EXPECT_TRUE(std::equal(logits.begin(), logits.end(), expected.begin()));
  // A session without room for all takes the beginning.
  Session small = other.new_session(3);
  EXPECT_EQ(other.load_session(folder_ / "cache", small), (std::vector<std::int32_t>{1, 5, 9}));
}

TEST_F(Scratch, PromptCacheOfOtherWeightsIsRefused) {
  const std::vector<std::int32_t> ids = {1, 5, 9, 3};
  const Model model = tiny();
  Session session = model.new_session(16);
  session.forward(ids);
  model.save_session(folder_ / "cache", session, ids);
  for (const LoadOptions& options :
       {LoadOptions{.dtype = "float16"}, LoadOptions{.kv_dtype = "float16"},
        LoadOptions{.quantization_config = BitsAndBytesConfig{.load_in_8bit = true}}}) {
    const Model other = tiny(options);
    Session into = other.new_session(16);
    EXPECT_THROW(other.load_session(folder_ / "cache", into), UnsupportedError);
    EXPECT_EQ(into.position(), 0);
  }
}

TEST_F(Scratch, DamagedPromptCachesAreRefused) {
  const std::vector<std::int32_t> ids = {1, 5, 9};
  const Model model = tiny();
  Session session = model.new_session(4);
  session.forward(ids);
  const fs::path path = folder_ / "cache";
  model.save_session(path, session, ids);
  std::string good;
  {
    std::ifstream file(path, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(file), {});
  }
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    try {
      model.load_session(path, session);
    } catch (const Error&) {
      return session.position() == 0;
    }
    return false;
  };
  // Every byte of the header, then some of the values; cut at many places; with more behind it.
  for (std::size_t at = 0; at < good.size(); at += at < 400 ? 1 : 2003) {
    std::string bad = good;
    for (const char flip : {'\x01', '\x80', '\xFF'}) {
      bad[at] = static_cast<char>(good[at] ^ flip);
      EXPECT_TRUE(refused(bad)) << at;
    }
    EXPECT_TRUE(refused(good.substr(0, at))) << at;
  }
  EXPECT_TRUE(refused(good + "x"));
  EXPECT_TRUE(refused(""));
  EXPECT_FALSE(refused(good));
}

TEST_F(Scratch, ChatsGoOnFromAPromptCache) {
  const Model model = tiny();
  std::string reply;
  {
    Chat chat(model, chatting());
    chat.set_system("a long system message");
    reply = text_of(chat.say("one"));
    chat.save_prompt_cache(folder_ / "cache");
  }
  Chat chat(model, chatting());
  EXPECT_GT(chat.load_prompt_cache(folder_ / "cache"), 0);
  chat.set_system("a long system message");
  Generation& generation = chat.say("one");
  EXPECT_EQ(text_of(generation), reply);
  EXPECT_EQ(generation.stats().cached_tokens, generation.stats().prompt_tokens - 1);
}

TEST(ModelGenerate, GoesOnInASessionOfTheCallers) {
  const Model model = tiny();
  const std::vector<std::int32_t> ids = {1, 5, 9, 3};
  const GenerateOptions options{.max_new_tokens = 6, .ignore_eos = true};
  Generation whole = model.generate(ids, options);
  text_of(whole);
  Session session = model.new_session(20);
  session.forward(std::span(ids).first(3));
  Generation rest = model.generate(session, ids, options);
  text_of(rest);
  EXPECT_EQ(rest.ids(), whole.ids());
  EXPECT_EQ(rest.stats().cached_tokens, 3);
  EXPECT_EQ(session.position(), 9);
  EXPECT_THROW(model.generate(session, ids, options), ArgumentError);
}

}  // namespace
}  // namespace shoehorn
