// Python's ==, <, in and hash().
#include <algorithm>
#include <cmath>
#include <functional>

#include "base/str_cat.h"
#include "text/jinja_value.h"
#include "text/python_text.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

// Exact for what templates hold: long double has 64 bits of mantissa on x86.
bool equal_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.as_integer() == b.as_integer();
  if (a.is(Kind::kFloat) && b.is(Kind::kFloat)) return a.as_double() == b.as_double();
  const Value& real = a.is(Kind::kFloat) ? a : b;
  const Value& whole = a.is(Kind::kFloat) ? b : a;
  return static_cast<long double>(real.as_double()) == static_cast<long double>(whole.as_integer());
}

bool less_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return a.as_integer() < b.as_integer();
  const auto wide = [](const Value& v) {
    return v.is(Kind::kFloat) ? static_cast<long double>(v.as_double())
                              : static_cast<long double>(v.as_integer());
  };
  return wide(a) < wide(b);
}

bool equal_lists(Budget& budget, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!equal(budget, a[i], b[i])) return false;
  }
  return true;
}

bool equal_dicts(Budget& budget, const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.find(key);
    if (other == nullptr || !equal(budget, value, *other)) return false;
  }
  return true;
}

bool equal_ranges(const Range& a, const Range& b) {
  if (a.length != b.length) return false;
  if (a.length == 0) return true;
  return a.start == b.start && (a.length == 1 || a.step == b.step);
}

bool is_keys_like(const Value& value) {
  return value.is(Kind::kKeys) || value.is(Kind::kItems);
}

// Views of keys and items compare as sets.
bool equal_views(Budget& budget, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  return std::ranges::all_of(a, [&](const Value& item) {
    return std::ranges::any_of(b, [&](const Value& other) { return equal(budget, item, other); });
  });
}

bool less_lists(Budget& budget, const std::vector<Value>& a, const std::vector<Value>& b,
                std::string_view operation) {
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    if (!equal(budget, a[i], b[i])) return less(budget, a[i], b[i], operation);
  }
  return a.size() < b.size();
}

bool has(Budget& budget, const std::vector<Value>& items, const Value& value) {
  return std::ranges::any_of(items, [&](const Value& item) { return equal(budget, item, value); });
}

}  // namespace

bool equal(Budget& budget, const Value& a, const Value& b) {
  budget.spend(1);
  if (a.is_number() && b.is_number()) return equal_numbers(a, b);
  if (is_keys_like(a) && is_keys_like(b)) return equal_views(budget, a.items(), b.items());
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
    case Kind::kUndefined: return true;
    case Kind::kString:
      if (a.text().size() != b.text().size()) return false;
      budget.spend_bytes(a.text().size());
      return a.text() == b.text();
    case Kind::kList:
    case Kind::kTuple: return equal_lists(budget, a.items(), b.items());
    case Kind::kDict: return equal_dicts(budget, a.dict(), b.dict());
    case Kind::kRange: return equal_ranges(a.as<Range>(), b.as<Range>());
    default: return a.object() == b.object();
  }
}

bool less(Budget& budget, const Value& a, const Value& b, std::string_view operation) {
  budget.spend(1);
  if (a.is_number() && b.is_number()) return less_numbers(a, b);
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  if (a.is_string() && b.is_string()) {
    budget.spend_bytes(std::min(a.text().size(), b.text().size()));
    return a.text() < b.text();  // UTF-8 sorts as code points do
  }
  if (a.kind() == b.kind() && (a.is(Kind::kList) || a.is(Kind::kTuple))) {
    return less_lists(budget, a.items(), b.items(), operation);
  }
  fail_runtime(str_cat("TypeError: '", operation, "' not supported between instances of '",
                       type_name(a), "' and '", type_name(b), "'"));
}

bool contains(Budget& budget, const Value& container, const Value& value) {
  switch (container.kind()) {
    case Kind::kUndefined: return false;
    case Kind::kString:
      if (!value.is_string()) {
        fail_runtime(str_cat("TypeError: 'in <string>' requires string as left operand, not ",
                             type_name(value)));
      }
      budget.spend_bytes(container.text().size());
      return text::find_bytes(container.text(), value.text()) != std::string_view::npos;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kKeys:
    case Kind::kValues:
    case Kind::kItems: return has(budget, container.items(), value);
    case Kind::kDict: return container.dict().find(value) != nullptr;
    case Kind::kRange:
    case Kind::kGenerator: return has(budget, iterate(budget, container), value);
    default: break;
  }
  fail_runtime(str_cat("TypeError: argument of type '", type_name(container), "' is not iterable"));
}

std::size_t hash(Budget& budget, const Value& value) {
  budget.spend(1);
  switch (value.kind()) {
    case Kind::kNone: return 1;
    case Kind::kUndefined: return 2;
    case Kind::kBool:
    case Kind::kInteger:
      return std::hash<std::int64_t>{}(static_cast<std::int64_t>(value.as_integer()));
    case Kind::kFloat: {
      const double number = value.as_double();
      // As the integer that it is equal to.
      if (number == std::floor(number) && std::abs(number) < 1e18) {
        return std::hash<std::int64_t>{}(static_cast<std::int64_t>(number));
      }
      return std::hash<double>{}(number);
    }
    case Kind::kString:
      budget.spend_bytes(value.text().size());
      return std::hash<std::string_view>{}(value.text());
    case Kind::kTuple: {
      std::size_t result = 3;
      for (const Value& item : value.items()) result = result * 1'000'003 + hash(budget, item);
      return result;
    }
    case Kind::kList:
    case Kind::kDict:
    case Kind::kKeys:
    case Kind::kItems:
      fail_runtime(str_cat("TypeError: unhashable type: '", type_name(value), "'"));
    default: return std::hash<const void*>{}(value.object());
  }
}

}  // namespace shoehorn::jinja
