// The hub's client against answers made up here: who gets the token, what is tried again, what is
// said where nothing helps. tests/pull_test.sh has the same over real connections.
#include "hub/client.h"

#include <deque>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoehorn::hub {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

HttpAnswer answer(long status, std::map<std::string, std::string> headers = {},
                  const std::string& body = "") {
  return {.status = status, .headers = std::move(headers), .body = body};
}

/// Answers in order, and remembers what it was asked.
struct Script {
  std::deque<HttpAnswer> answers;
  std::vector<HttpRequest> asked = {};

  ClientOptions options(const std::string& token = "secret") {
    return {.endpoint = "https://hub.example/",
            .token = token,
            .attempts = 3,
            .first_delay_s = 0,
            .exchange = [this](const HttpRequest& request) {
              asked.push_back(request);
              if (answers.empty()) throw ConnectionError("broken");
              HttpAnswer next = answers.front();
              answers.pop_front();
              if (request.on_headers) request.on_headers(next);
              if (request.on_body && (next.status == 200 || next.status == 206)) {
                request.on_body(std::as_bytes(std::span(next.body)));
              }
              return next;
            }};
  }
  Client client(const std::string& token = "secret") { return {options(token), "o/n", "main"}; }
};

TEST(Client, GivesTheTokenToTheEndpointAlone) {
  Script script{.answers = {answer(302, {{"location", "https://cdn.example/x"}}), answer(200)}};
  script.client().fetch(
      "c", "f", [] { return std::uint64_t{0}; }, [] {}, [](std::span<const std::byte>) {});
  ASSERT_EQ(script.asked.size(), 2U);
  EXPECT_EQ(script.asked[0].url.text(), "https://hub.example/o/n/resolve/c/f");
  EXPECT_EQ(script.asked[0].token, "secret");
  EXPECT_EQ(script.asked[1].url.text(), "https://cdn.example/x");
  EXPECT_EQ(script.asked[1].token, "");
}

TEST(Client, AnotherPortOrSchemeIsSomebodyElse) {
  for (const char* location : {"https://hub.example:8443/x", "//hub.example.evil/x"}) {
    Script script{.answers = {answer(307, {{"location", location}}), answer(200, {}, "{}")}};
    script.client().repository_json();
    EXPECT_EQ(script.asked[1].token, "") << location;
  }
  Script script{.answers = {answer(307, {{"location", "http://hub.example/x"}})}};
  EXPECT_THAT([&] { script.client().repository_json(); },
              ThrowsMessage<FormatError>(HasSubstr("from https to http")));
}

TEST(Client, KeepsTheTokenOnARedirectOfTheSameHost) {
  Script script{.answers = {answer(307, {{"location", "/renamed/n"}}), answer(200, {}, "{}")}};
  EXPECT_EQ(script.client().repository_json(), "{}");
  EXPECT_EQ(script.asked[1].url.text(), "https://hub.example/renamed/n");
  EXPECT_EQ(script.asked[1].token, "secret");
}

TEST(Client, GivesUpARedirectThatGoesRound) {
  Script script;
  for (int i = 0; i < 20; ++i) script.answers.push_back(answer(302, {{"location", "/x"}}));
  EXPECT_THAT([&] { script.client().repository_json(); },
              ThrowsMessage<FormatError>(HasSubstr("redirects")));
}

TEST(Client, ReadsWhatTheHubSaysOfAFile) {
  Script script{.answers = {answer(302, {{"location", "https://cdn.example/x"},
                                         {"x-linked-etag", "\"abc\""},
                                         {"x-linked-size", "12"},
                                         {"content-length", "5"}})}};
  const FileFacts facts = script.client().facts("c", "f");
  EXPECT_EQ(facts.etag, "abc");
  EXPECT_EQ(facts.size, 12U);
  EXPECT_TRUE(script.asked[0].head);
  Script small{.answers = {answer(200, {{"etag", "W/\"d\""}, {"content-length", "5"}})}};
  EXPECT_EQ(small.client().facts("c", "f").size, 5U);
  Script nameless{.answers = {answer(200, {{"etag", "\"../../x\""}})}};
  EXPECT_THROW(nameless.client().facts("c", "f"), FormatError);
}

TEST(Client, TriesAgainWhereThatMayHelp) {
  Script script{.answers = {answer(503), answer(429), answer(200, {}, "{}")}};
  EXPECT_EQ(script.client().repository_json(), "{}");
  Script broken;
  EXPECT_THAT([&] { broken.client().repository_json(); },
              ThrowsMessage<Error>(HasSubstr("given up after 3 attempts")));
  EXPECT_EQ(broken.asked.size(), 3U);
}

TEST(Client, WaitsAsLongAsItIsAsked) {
  HttpAnswer busy = answer(429);
  busy.retry_after_s = 0.3;
  Script script{.answers = {busy, answer(200, {}, "{}")}};
  std::vector<std::string> notes;
  ClientOptions options = script.options();
  options.on_note = [&](const std::string& note) { notes.push_back(note); };
  Client(options, "o/n", "main").repository_json();
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_THAT(notes[0], HasSubstr("again in 0.3 s"));
}

TEST(Client, SaysWhatToDo) {
  const auto message = [](long status, const std::string& token,
                          std::map<std::string, std::string> headers = {}) {
    Script script{.answers = {answer(status, std::move(headers))}};
    try {
      script.client(token).repository_json();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message(401, ""), HasSubstr("HF_TOKEN has to hold"));
  EXPECT_THAT(message(401, "secret"), HasSubstr("does not accept the token"));
  EXPECT_THAT(message(401, "secret"), Not(HasSubstr("secret")));
  EXPECT_THAT(message(403, "secret"), HasSubstr("terms to accept"));
  EXPECT_THAT(message(404, ""), HasSubstr("spelt right"));
  EXPECT_THAT(message(404, "", {{"x-error-code", "RevisionNotFound"}}),
              HasSubstr("no revision main"));
}

TEST(Client, GoesOnWhereItStopped) {
  Script script{.answers = {answer(206, {{"content-range", "bytes 3-4/5"}}, "de")}};
  std::string got = "abc";
  script.client().fetch(
      "c", "f", [&] { return got.size(); }, [&] { got.clear(); },
      [&](std::span<const std::byte> bytes) {
        got.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      });
  EXPECT_EQ(script.asked[0].range_begin, 3U);
  EXPECT_EQ(got, "abcde");
}

TEST(Client, BeginsAnewWhereTheServerDoes) {
  Script script{.answers = {answer(200, {}, "fresh")}};
  std::string got = "stale";
  const auto fetch = [&] {
    script.client().fetch(
        "c", "f", [&] { return got.size(); }, [&] { got.clear(); },
        [&](std::span<const std::byte> bytes) {
          got.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        });
  };
  fetch();
  EXPECT_EQ(got, "fresh");
  script.answers = {answer(206, {{"content-range", "bytes 0-4/5"}}, "wrong")};
  EXPECT_THROW(fetch(), FormatError);
}

TEST(Client, RefusesATokenThatWouldBeAHeader) {
  Script script;
  EXPECT_THROW(script.client("a\r\nX: y"), ArgumentError);
}

}  // namespace
}  // namespace shoehorn::hub
