#include "text/jinja_variables.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "base/str_cat.h"
#include "text/json_reader.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

class Reader {
 public:
  Reader(Budget& budget, std::string_view json) : budget_(budget), reader_(json) {}

  Value run() {
    Value value = read(0);
    reader_.expect_end();
    return value;
  }

 private:
  Value read(std::uint32_t depth) {
    if (depth >= Limits::kDepth) {
      reader_.fail(str_cat("more than ", Limits::kDepth, " levels of nesting"));
    }
    switch (reader_.peek()) {
      case '{': return object(depth);
      case '[': {
        std::vector<Value> items;
        reader_.expect('[');
        for (bool first = true; reader_.next_item(first);) {
          if (items.size() == items.capacity()) {
            budget_.check_count(items.size() * 2 + 1, sizeof(Value));
          }
          items.push_back(read(depth + 1));
        }
        return make_list(budget_, std::move(items));
      }
      case '"': return string();
      case 't': reader_.read_word("true"); return Value::boolean(true);
      case 'f': reader_.read_word("false"); return Value::boolean(false);
      case 'n': reader_.read_word("null"); return {};
      default: return number();
    }
  }

  Value string() { return make_text(budget_, std::string(reader_.view(reader_.read_string()))); }

  Value object(std::uint32_t depth) {
    const auto dict = make<Dict>(budget_);
    reader_.expect('{');
    for (bool first = true; reader_.next_member(first);) {
      Value key = string();
      reader_.expect(':');
      dict->set(std::move(key), read(depth + 1));
    }
    return Value(Kind::kDict, dict.get());
  }

  Value number() {
    bool is_integer = false;
    const std::string_view digits = reader_.read_number(is_integer);
    if (is_integer) {
      Integer value = 0;
      const bool negative = digits[0] == '-';
      for (const char c : digits.substr(negative ? 1 : 0)) {
        if (__builtin_mul_overflow(value, Integer{10}, &value) ||
            __builtin_add_overflow(value, Integer{c - '0'}, &value)) {
          reader_.fail("an integer of more than 127 bits");
        }
      }
      return Value::integer(negative ? -value : value);
    }
    double value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result.ec != std::errc() || !std::isfinite(value)) reader_.fail("a number out of range");
    return Value::number(value);
  }

  Budget& budget_;
  text::JsonReader reader_;
};

Value message_with_reasoning(Budget& budget, const Value& message) {
  if (!message.is(Kind::kDict)) return message;
  const Dict& old = message.dict();
  const Value* reasoning = nullptr;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const Value* found = old.find(name);
    if (found == nullptr || found->is_none()) continue;
    reasoning = found;
    break;
  }
  if (reasoning == nullptr) return message;
  const auto dict = make<Dict>(budget);
  if (old.find("thinking") == nullptr) dict->set(make_text(budget, "thinking"), *reasoning);
  for (const auto& [key, value] : old.entries) dict->set(key, value);
  dict->set(make_text(budget, "reasoning_content"), *reasoning);
  return Value(Kind::kDict, dict.get());
}

}  // namespace

Value read_json(Budget& budget, std::string_view json) {
  return Reader(budget, json).run();
}

Value with_reasoning(Budget& budget, const Value& messages) {
  if (!messages.is(Kind::kList)) return messages;
  std::vector<Value> result;
  result.reserve(messages.items().size());
  for (const Value& message : messages.items()) {
    result.push_back(message_with_reasoning(budget, message));
  }
  return make_list(budget, std::move(result));
}

}  // namespace shoehorn::jinja
