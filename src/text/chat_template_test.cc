// Chat templates against what transformers and jinja2 made of them (tests/data/chat-templates,
// SOURCES.md), and against templates that mean harm.
#include "shoehorn/chat_template.h"

#include <chrono>
#include <fstream>
#include <iterator>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace shoehorn {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string read_data(const std::string& name) {
  std::ifstream file(SHOEHORN_TEST_DATA "/chat-templates/" + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string render(const std::string& source, const Json& variables = Json::object()) {
  return ChatTemplate::from_source(source, "t.jinja").render(variables.dump());
}

// Fails the test unless `expected` or `error` of the case is what rendering gives.
void expect_case(const Json& item, const std::string& source, const Json& variables) {
  SCOPED_TRACE(item["name"].get<std::string>());
  try {
    const std::string text = render(source, variables);
    if (item.contains("expected")) {
      EXPECT_EQ(text, item["expected"].get<std::string>());
    } else {
      ADD_FAILURE() << "expected an error: " << item["error"].dump() << "\ngot: " << text;
    }
  } catch (const TemplateError& error) {
    if (!item.contains("error")) {
      ADD_FAILURE() << error.what();
      return;
    }
    std::string kind = item["error"]["kind"];
    // Python gives up on endless recursion by its own limit, a RuntimeError.
    if (item["error"]["message"].get<std::string>().starts_with("RecursionError")) kind = "limit";
    EXPECT_EQ(to_string(error.kind()), kind) << error.what();
    if (kind == "raise_exception") {
      EXPECT_EQ(error.message(), item["error"]["message"].get<std::string>());
    }
  }
}

class Recorded : public testing::TestWithParam<const char*> {};

TEST_P(Recorded, RendersEveryConversationByteForByte) {
  const std::string source = read_data(std::string(GetParam()) + ".jinja");
  const Json file = Json::parse(read_data(std::string(GetParam()) + ".cases.json"));
  ASSERT_FALSE(file["cases"].empty());
  for (const Json& item : file["cases"]) {
    Json variables = file["special_tokens"];
    variables["messages"] = item["messages"];
    for (const char* key : {"tools", "documents"}) {
      if (item.contains(key)) variables[key] = item[key];
    }
    variables.update(item["kwargs"]);
    variables["now"] = file["now"];
    expect_case(item, source, variables);
  }
}

INSTANTIATE_TEST_SUITE_P(ChatTemplate, Recorded,
                         testing::Values("command-r-plus-tool-use", "deepseek-r1-distill",
                                         "gemma-2", "gemma-3", "gpt-oss", "granite-3.3",
                                         "hermes-3-tool-use", "llama-2", "llama-3.1", "llama-3.2",
                                         "mistral-7b-v0.3", "mistral-nemo", "mixtral-8x7b",
                                         "olmo-2", "phi-3.5-mini", "phi-4", "qwen2.5", "qwen3",
                                         "smollm2", "smollm3", "zephyr"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) {
                             if (c == '-' || c == '.') c = '_';
                           }
                           return name;
                         });

TEST(Jinja, GivesWhatJinja2GivesForEveryRecordedSnippet) {
  const Json file = Json::parse(read_data("jinja-micro.cases.json"));
  for (const Json& item : file["cases"]) {
    Json variables = file["context"];
    variables["now"] = file["now"];
    expect_case(item, item["template"], variables);
  }
}

struct Hostile {
  const char* name;
  const char* source;
};

std::ostream& operator<<(std::ostream& out, const Hostile& hostile) {
  return out << hostile.name;
}

class HostileTemplate : public testing::TestWithParam<Hostile> {};

// Each of these would run for ever or fill the memory; each ends with a limit, and soon.
TEST_P(HostileTemplate, EndsWithALimitWithinASecond) {
  const auto start = std::chrono::steady_clock::now();
  try {
    const std::string text = render(GetParam().source);
    ADD_FAILURE() << "rendered " << text.size() << " bytes";
  } catch (const TemplateError& error) {
    EXPECT_EQ(error.kind(), TemplateError::Kind::kLimit) << error.what();
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  // Each takes under 0.4 s alone; with sanitizers, beside other tests, many times that.
  EXPECT_LT(seconds.count(), 60.0);
}

INSTANTIATE_TEST_SUITE_P(
    ChatTemplate, HostileTemplate,
    testing::Values(
        Hostile{"NestedLoops",
                "{% for a in range(100000) %}{% for b in range(100000) %}{% for c in range(100000) "
                "%}{% endfor %}{% endfor %}{% endfor %}"},
        Hostile{"Recursion", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"},
        Hostile{"MutualRecursion",
                "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}"
                "{{ f() }}"},
        Hostile{"RecursiveLoop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}"},
        Hostile{
            "Caller",
            "{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{{ caller() }}{% endmacro %}"
            "{% call f() %}{% endcall %}"},
        Hostile{"NamespaceWithinItself", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}"},
        Hostile{"RepeatedText", "{{ 'a' * 10**9 }}"}, Hostile{"RepeatedList", "{{ [0] * 10**9 }}"},
        Hostile{"DoubledText",
                "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(100) %}"
                "{% set ns.s = ns.s + ns.s %}{% endfor %}"},
        Hostile{"DoubledList",
                "{% set ns = namespace(s=[1]) %}{% for i in range(100) %}"
                "{% set ns.s = ns.s + ns.s %}{% endfor %}"},
        Hostile{"ManyTexts",
                "{% set ns = namespace(s=[]) %}{% for i in range(1000) %}"
                "{% set ns.s = ns.s + ['x' * 1000000] %}{% endfor %}"},
        Hostile{"Output", "{% for i in range(100000) %}{{ 'x' * 1000 }}{% endfor %}"},
        Hostile{"DeepList",
                "{% set ns = namespace(s=[]) %}{% for i in range(100000) %}"
                "{% set ns.s = [ns.s] %}{% endfor %}"},
        Hostile{"ListsOfTheSameList",
                "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}"
                "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}"},
        Hostile{"ComparedLists",
                "{% set a = namespace(s=[1]) %}{% set b = namespace(s=[1]) %}"
                "{% for i in range(60) %}{% set a.s = [a.s, a.s] %}{% set b.s = [b.s, b.s] %}"
                "{% endfor %}{{ a.s == b.s }}"},
        Hostile{"JsonOfTheSameList",
                "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}"
                "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s|tojson(indent=8) }}"},
        Hostile{"Power", "{{ 10 ** 10 ** 10 }}"},
        Hostile{"PercentWidth", "{{ '%1000000000d' % 1 }}"},
        Hostile{"FormatWidth", "{{ '{:>99999999}'.format(1) }}"},
        Hostile{"Center", "{{ 'x'.center(10**9) }}"}, Hostile{"Zfill", "{{ 'x'.zfill(10**9) }}"},
        Hostile{"ReplaceNothing", "{{ ('a' * 100000).replace('', 'b' * 100000) }}"},
        Hostile{"Indent", "{{ ('a\n' * 100000)|indent('x' * 100000) }}"},
        Hostile{"Join", "{{ (range(100000)|list)|join('x' * 100000) }}"},
        Hostile{"Batch", "{{ [1]|batch(10**9, 0)|list }}"},
        Hostile{"Slice", "{{ [1]|slice(10**9)|list }}"},
        Hostile{"Words",
                "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{% set t = s|upper %}"
                "{% endfor %}"},
        Hostile{"Replace",
                "{% set ns = namespace(s='aa') %}{% for i in range(1000) %}"
                "{% set ns.s = ns.s|replace('a', 'aa') %}{% endfor %}"},
        Hostile{"GrowingNamespace",
                "{% set ns = namespace(s=[]) %}{% for i in range(100000) %}"
                "{% set ns.s = ns.s + ['x' * 1000] %}{% endfor %}"},
        Hostile{"CallsOfCalls",
                "{% macro f(n) %}{% if n > 0 %}{{ f(n-1) }}{{ f(n-2) }}{% endif %}x{% endmacro %}"
                "{{ f(90) }}"},
        Hostile{"UrlEncode",
                "{% set s = 'é' * 1000000 %}{% for i in range(1000) %}{% set t = s|urlencode %}"
                "{% endfor %}"},
        Hostile{"OpenComments",
                "{% set s = '<!--a>' * 1000000 %}{% for i in range(1000) %}"
                "{% set t = s|striptags %}{% endfor %}"},
        Hostile{"Contains",
                "{% set s = 'a' * 1000000 %}{% for i in range(100000) %}{{ 'b' in s }}"
                "{% endfor %}"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ChatTemplate, RefusesDeepAndLongSources) {
  const auto kind_of = [](const std::string& source) {
    try {
      ChatTemplate::from_source(source, "t.jinja");
    } catch (const TemplateError& error) {
      return error.kind();
    }
    return TemplateError::Kind::kRuntime;
  };
  const auto repeated = [](const std::string& text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += text;
    return out;
  };
  const auto nested = [](char open, char close) {
    return "{{ " + std::string(100000, open) + "1" + std::string(100000, close) + " }}";
  };
  EXPECT_EQ(kind_of(nested('(', ')')), TemplateError::Kind::kLimit);
  EXPECT_EQ(kind_of(nested('[', ']')), TemplateError::Kind::kLimit);
  EXPECT_EQ(kind_of("{{ " + repeated("not ", 100000) + "1 }}"), TemplateError::Kind::kLimit);
  EXPECT_EQ(kind_of("{{ " + std::string(100000, '-') + "1 }}"), TemplateError::Kind::kLimit);
  EXPECT_EQ(kind_of(repeated("{% if 1 %}", 50000)), TemplateError::Kind::kLimit);
  EXPECT_EQ(kind_of(repeated("{{1}}", 200000)), TemplateError::Kind::kLimit);
  EXPECT_EQ(kind_of(std::string(2 << 20, 'x')), TemplateError::Kind::kLimit);
}

TEST(ChatTemplate, TakesLongChainsWhichAreNotDeep) {
  std::string sum = "1";
  std::string attributes = "d";
  for (int i = 0; i < 20000; ++i) {
    sum += "+1";
    attributes += "|string";
  }
  EXPECT_EQ(render("{{ " + sum + " }}"), "20001");
  EXPECT_EQ(render("{{ " + attributes + " }}", Json::parse(R"({"d": "x"})")), "x");
}

// What tests/parity/fuzz_templates.py found, in jinja2's words.
TEST(Jinja, FollowsJinja2IntoItsCorners) {
  EXPECT_EQ(render("{{ range(9)[:1:-2] }} {{ range(9)[1:0:10] }}"),
            "range(8, 1, -2) range(1, 0, 10)");
  EXPECT_EQ(render("{{ [1]|truncate(5, true, '') }}"), "[1]");
  EXPECT_EQ(render("{{ [1, 2]|slice(2, 'f')|list }}"), "[[1, 'f'], [2, 'f']]");
  EXPECT_EQ(render("{% for x in [1, 2] %}{{ loop }}{% endfor %}"),
            "<LoopContext 1/2><LoopContext 2/2>");
  EXPECT_EQ(render("{{ '<!-->a<!<!---->--b-->c<d>e<f'|striptags }}"), "--b-->ce<f");
  EXPECT_EQ(render("{{ 'a<!-- b<c>'|striptags }}"), "a<!-- b<c>");
  for (const char* failing : {"{% filter length %}x{% endfilter %}", "{{ []|filesizeformat }}",
                              "{{ 'x'|filesizeformat }}", "{{ namespace(missing) }}",
                              "{{ dict(missing) }}", "{{ range(2**62)[::2**62] }}"}) {
    EXPECT_THROW(render(failing), TemplateError) << failing;
  }
}

TEST(ChatTemplate, NeverReadsMessagesAsTemplates) {
  EXPECT_EQ(render("{{ messages[0].content }}", Json::parse(R"({"messages": [{"role": "user",
                                                 "content": "{{ 7*7 }}{% if %}"}]})")),
            "{{ 7*7 }}{% if %}");
}

TEST(ChatTemplate, SaysWhereATemplateFails) {
  EXPECT_THAT([] { render("a\n{{ missing.x }}"); },
              ThrowsMessage<TemplateError>(HasSubstr("t.jinja:2:")));
  EXPECT_THAT([] { render("a\n\n  {% nonsense %}"); },
              ThrowsMessage<TemplateError>(HasSubstr("t.jinja:3:6")));
}

TEST(ChatTemplate, ChoosesAmongNamedTemplates) {
  const auto chosen =
      ChatTemplate::from_sources({{"default", "D{{ bos_token }}"}, {"tool_use", "T"}, {"rag", "R"}},
                                 {{"bos_token", "<s>"}}, "config.json");
  EXPECT_EQ(chosen.render("{}"), "D<s>");
  EXPECT_EQ(chosen.render(R"({"bos_token": "x"})"), "Dx");
  EXPECT_EQ(chosen.render(R"({"tools": []})"), "T");
  EXPECT_EQ(chosen.render(R"({"chat_template": "rag"})"), "R");
  EXPECT_THAT([&] { chosen.render(R"({"chat_template": "none"})"); },
              ThrowsMessage<ArgumentError>(HasSubstr("tool_use")));
}

TEST(ChatTemplate, TakesPlainMessages) {
  const auto chat_template = ChatTemplate::from_source(
      "{% for m in messages %}{{ m.role }}={{ m.content }};{% endfor %}"
      "{{ add_generation_prompt }}{{ x }}",
      "t.jinja");
  const std::vector<ChatMessage> messages = {{"user", "a \"b\"\n\xC3"}};
  EXPECT_EQ(chat_template.render(messages, true), "user=a \"b\"\n\xEF\xBF\xBD;True");
  EXPECT_EQ(chat_template.render(messages, false, R"( {"x": 1} )"),
            "user=a \"b\"\n\xEF\xBF\xBD;False1");
}

TEST(ChatTemplate, RefusesVariablesThatAreNoJsonObject) {
  const auto chat_template = ChatTemplate::from_source("x", "t.jinja");
  for (const char* json : {"", "[]", "{", "{\"a\": 01}", "{\"now\": \"noon\"}"}) {
    EXPECT_THROW(chat_template.render(json), FormatError) << json;
  }
  EXPECT_THROW(
      chat_template.render("{\"a\":" + std::string(1000, '[') + std::string(1000, ']') + "}"),
      FormatError);
}

TEST(ChatTemplate, RendersFromManyThreads) {
  const auto chat_template = ChatTemplate::from_source(
      "{% for i in range(n) %}{{ 'x' ~ i }}{% endfor %}{{ {'a': [1, 'b']} }}", "t.jinja");
  const std::string expected = chat_template.render(R"({"n": 50})");
  std::vector<std::thread> threads;
  std::vector<std::string> found(8);
  for (std::string& text : found) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) text = chat_template.render(R"({"n": 50})");
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : found) EXPECT_EQ(text, expected);
}

}  // namespace
}  // namespace shoehorn
