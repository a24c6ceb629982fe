// What jinja2 3.1.6, in transformers' environment, makes of constants and of other things that no
// real template does. Every rendering was recorded from it, with x = 2.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/chat_template.h"

namespace shoehorn {
namespace {

std::string render(const std::string& source) {
  return ChatTemplate::from_source(source, "t.jinja").render(R"({"x": 2})");
}

void expect_texts(const std::vector<std::pair<const char*, const char*>>& recorded) {
  for (const auto& [source, text] : recorded) EXPECT_EQ(render(source), text) << source;
}

void expect_errors(const std::vector<const char*>& recorded) {
  for (const char* source : recorded) EXPECT_THROW(render(source), TemplateError) << source;
}

TEST(JinjaFolding, APartOfAConstantThatHasNoneIsUndefined) {
  expect_texts({{"{{ 5[1:2] }}|", "|"},
                {"{{ [5[1:2]] }}", "[Undefined]"},
                {"{{ 5[1:2] is defined }}", "False"},
                {"{{ 5[1:2]|default(3) + x }}", "5"},
                {"{{ 5[1:2] ~ 'x' }}", "x"},
                {"{{ {'a': 1}[0:1] or 7 }}", "7"},
                {"{{ (5[1:2] or 3) + x }}", "5"},
                {"{{ 5[1:2] or 3 or x }}", "3"},
                {"{{ x or 5[1:2] }}", "2"},
                {"{{ none[:1] }}", ""},
                {"{{ 'a'['b':] }}", ""},
                {"{% for i in [5[1:2]|default(1)] %}{{ i }}{% endfor %}", "1"},
                {"{{ 5[1:2]|list }}", "[]"},
                {"{{ false and 5[1:2] }}", "False"},
                {"{{ '%s' % 5[1:2] }}|", "|"},
                {"{{ not 5[1:2] }}", "True"},
                {"{{ 1 if 5[1:2] else 2 }}", "2"},
                {"{{ 1 if x else 5[1:2] }}", "1"},
                {"{{ 5[1:2] if not x }}", ""},
                {"{{ 5[1:2]|string|upper ~ x }}", "2"},
                {"{{ [1,2][5:]|first is undefined and x }}", "2"},
                {"{{ ''[0:1]|int + x }}", "2"},
                {"{{ (1,2)[0:1] + (x,) }}", "(1, 2)"}});
}

TEST(JinjaFolding, IsLeftToTheRenderingWhereThereIsAVariableOrNothingToWriteDown) {
  expect_errors({"{{ 5[1:2]|default(x) }}", "{% set a = 5[1:2] %}", "{% if 5[1:2] %}{% endif %}",
                 "{{ 5[1:2] ~ x }}", "{{ 5[1:2] or x }}", "{{ 'abc'[::0] }}", "{{ none[:1].x }}",
                 "{% for i in [5[1:2]] %}{% endfor %}", "{{ (5[1:2])[0] }}",
                 "{{ '%s' % 5[1:2] % x }}", "{{ 'abc'.x[1:] }}|", "{{ 5[1:2][1:2] }}"});
}

TEST(JinjaFolding, FloatsThatAreNotFiniteCanOnlyBePrinted) {
  expect_texts({{"{{ 1e999 }}", "inf"},
                {"{{ 1e308 * 10 > 1 }}", "True"},
                {"{{ 'nan'|float }}", "nan"},
                {"{{ -(1e999) }}", "-inf"}});
}

TEST(JinjaFolding, FloatsThatAreNotFiniteAreNamesOfNothing) {
  expect_errors({"{% set a = 1e999 %}{{ a }}", "{{ 1e999 + x }}", "{{ 1e308 * 10 > x }}",
                 "{{ [1e999, x] }}", "{% set a = 'inf'|float %}{{ a }}",
                 "{% set a = -1e999 %}{{ a }}"});
}

TEST(JinjaFolding, ArgumentsOfConstantsMayRepeat) {
  expect_texts({{"{{ 'aXb'|replace(old='a', old='X', new='-') }}", "a-b"},
                {"{{ 'aXb'|replace('X', **[['new', '+']]) }}", "a+b"},
                {"{{ 'aXb'|replace('X', **{'new': '+'}) }}", "a+b"}});
}

TEST(JinjaFolding, OtherArgumentsMayNot) {
  expect_errors({"{{ 'aXb'|replace(old='a', old='X', new=x) }}",
                 "{{ f(a=1, a=2) }}{% macro f(a) %}{% endmacro %}"});
}

TEST(Jinja, ALoopIsItsOwnIterator) {
  expect_texts(
      {{"{% for x in [1,2,3] %}{{ loop|list|length }}{{ loop.last }}{% endfor %}", "2True"},
       {"{% for x in [1,2,3] %}{% for y in loop %}{{ y[0] }}{% endfor %}{% endfor %}", "23"}});
  expect_errors({"{% for x in [1,2,3] %}{{ x }}{{ (loop|first)[0] }};{% endfor %}",
                 "{% for x in [1,2] %}{{ loop|length }}{{ loop|last }}{% endfor %}"});
}

TEST(Jinja, FollowsPythonInWhatItLooksUpAndFormats) {
  expect_texts({{"{{ ['b','a']|map('upper')|reverse }}", "['A', 'B']"},
                {"{{ '2' % y }}", "2"},
                {"{{ '2' % range(3) }}", "2"}});
  expect_errors({"{{ 'x' is filter }}{{ [] is filter }}", "{{ (2,[]) is test }}"});
}

}  // namespace
}  // namespace shoehorn
