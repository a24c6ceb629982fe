// Methods of mappings, lists and numbers; those of strings are in jinja_string_methods.cc. What
// would change a value exists, but may not be used.
#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_renderer.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

Value dict_get(Renderer& /*renderer*/, const Value& self, Arguments& arguments) {
  const auto [key, otherwise] = bind<2>("get", arguments, {"key", "default"}, 1);
  const Value* found = self.dict().find(*key);
  if (found != nullptr) return *found;
  return otherwise == nullptr ? Value() : *otherwise;
}

Value view(Renderer& renderer, const Value& self, Kind kind) {
  Budget& budget = renderer.budget();
  const std::vector<Dict::Entry>& entries = self.dict().entries;
  budget.check_count(entries.size(), sizeof(Value));
  std::vector<Value> items;
  items.reserve(entries.size());
  for (const auto& [key, value] : entries) {
    items.push_back(kind == Kind::kItems    ? make_tuple(budget, {key, value})
                    : kind == Kind::kValues ? value
                                            : key);
  }
  return Value(kind, make<Sequence>(budget, std::move(items)).get());
}

Value dict_items(Renderer& renderer, const Value& self, Arguments& arguments) {
  bind<0>("items", arguments, {});
  return view(renderer, self, Kind::kItems);
}
Value dict_keys(Renderer& renderer, const Value& self, Arguments& arguments) {
  bind<0>("keys", arguments, {});
  return view(renderer, self, Kind::kKeys);
}
Value dict_values(Renderer& renderer, const Value& self, Arguments& arguments) {
  bind<0>("values", arguments, {});
  return view(renderer, self, Kind::kValues);
}

Value copy(Renderer& /*renderer*/, const Value& self, Arguments& arguments) {
  bind<0>("copy", arguments, {});
  return self;
}

Value dict_fromkeys(Renderer& renderer, const Value& /*self*/, Arguments& arguments) {
  const auto [keys, value] = bind<2>("fromkeys", arguments, {"iterable", "value"}, 1);
  const auto dict = make<Dict>(renderer.budget());
  for (Value& key : iterate(renderer.budget(), *keys)) {
    dict->set(std::move(key), value == nullptr ? Value() : *value);
  }
  return Value(Kind::kDict, dict.get());
}

Value list_index(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [wanted, start, stop] = bind<3>("index", arguments, {"value", "start", "stop"}, 1);
  const std::vector<Value> items = iterate(renderer.budget(), self);
  const auto size = static_cast<std::int64_t>(items.size());
  const auto bound = [&](const Value* value, std::int64_t otherwise) {
    const std::int64_t i = integer_or(value, otherwise);
    return std::clamp<std::int64_t>(i < 0 ? i + size : i, 0, size);
  };
  for (std::int64_t i = bound(start, 0); i < bound(stop, size); ++i) {
    if (equal(renderer.budget(), items[static_cast<std::size_t>(i)], *wanted)) {
      return Value::integer(i);
    }
  }
  fail_runtime("ValueError: the value is not in list");
}

Value list_count(Renderer& renderer, const Value& self, Arguments& arguments) {
  const auto [wanted] = bind<1>("count", arguments, {"value"}, 1);
  Integer count = 0;
  for (const Value& item : iterate(renderer.budget(), self)) {
    if (equal(renderer.budget(), item, *wanted)) ++count;
  }
  return Value::integer(count);
}

Value bit_length(Renderer& /*renderer*/, const Value& self, Arguments& arguments) {
  bind<0>("bit_length", arguments, {});
  Integer rest = self.as_integer();
  Integer bits = 0;
  for (rest = rest < 0 ? -rest : rest; rest > 0; rest /= 2) ++bits;
  return Value::integer(bits);
}

Value conjugate(Renderer& /*renderer*/, const Value& self, Arguments& arguments) {
  bind<0>("conjugate", arguments, {});
  return positive(self);
}

Value is_integer(Renderer& /*renderer*/, const Value& self, Arguments& arguments) {
  bind<0>("is_integer", arguments, {});
  return Value::boolean(!self.is(Kind::kFloat) || std::floor(self.as_double()) == self.as_double());
}

constexpr std::array<Method, 11> kDictMethods = {{{"get", dict_get},
                                                  {"items", dict_items},
                                                  {"keys", dict_keys},
                                                  {"values", dict_values},
                                                  {"copy", copy},
                                                  {"fromkeys", dict_fromkeys},
                                                  {"clear", nullptr},
                                                  {"pop", nullptr},
                                                  {"popitem", nullptr},
                                                  {"setdefault", nullptr},
                                                  {"update", nullptr}}};

constexpr std::array<Method, 11> kListMethods = {{{"index", list_index},
                                                  {"count", list_count},
                                                  {"copy", copy},
                                                  {"append", nullptr},
                                                  {"clear", nullptr},
                                                  {"extend", nullptr},
                                                  {"insert", nullptr},
                                                  {"pop", nullptr},
                                                  {"remove", nullptr},
                                                  {"reverse", nullptr},
                                                  {"sort", nullptr}}};

constexpr std::array<Method, 3> kNumberMethods = {
    {{"conjugate", conjugate}, {"bit_length", bit_length}, {"is_integer", is_integer}}};

const Method* find_in(std::span<const Method> methods, std::string_view name) {
  const auto found = std::ranges::find(methods, name, &Method::name);
  return found == methods.end() ? nullptr : &*found;
}

}  // namespace

const Method* find_method(const Value& value, std::string_view name) {
  switch (value.kind()) {
    case Kind::kString: return find_string_method(name);
    case Kind::kDict: return find_in(kDictMethods, name);
    case Kind::kList: return find_in(kListMethods, name);
    // index and count are the first two.
    case Kind::kTuple:
    case Kind::kRange: return find_in(std::span(kListMethods).first(2), name);
    case Kind::kBool:
    case Kind::kInteger: return find_in(kNumberMethods, name);
    case Kind::kFloat: return name == "bit_length" ? nullptr : find_in(kNumberMethods, name);
    default: return nullptr;
  }
}

}  // namespace shoehorn::jinja
