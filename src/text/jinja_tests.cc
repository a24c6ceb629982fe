// Tests: `value is name`.
#include <algorithm>
#include <array>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_filters.h"
#include "text/python_text.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

template <bool (*holds)(const Value&)>
Value simple(Renderer& /*renderer*/, const Value& value, Arguments& arguments) {
  bind<0>("test", arguments, {});
  return Value::boolean(holds(value));
}

bool is_defined(const Value& value) {
  return !value.is_undefined();
}
bool is_undefined(const Value& value) {
  return value.is_undefined();
}
bool is_none(const Value& value) {
  return value.is_none();
}
bool is_boolean(const Value& value) {
  return value.is(Kind::kBool);
}
bool is_the_true(const Value& value) {
  return value.is(Kind::kBool) && value.as_bool();
}
bool is_the_false(const Value& value) {
  return value.is(Kind::kBool) && !value.as_bool();
}
bool is_integer(const Value& value) {
  return value.is(Kind::kInteger);
}
bool is_float(const Value& value) {
  return value.is(Kind::kFloat);
}
bool is_number(const Value& value) {
  return value.is_number();
}
bool is_string(const Value& value) {
  return value.is_string();
}
bool is_mapping(const Value& value) {
  return value.is(Kind::kDict);
}
bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_sequence() ||
         value.is(Kind::kDict) || value.is(Kind::kRange) || value.is(Kind::kGenerator) ||
         value.is(Kind::kLoop);
}
// What has a length and items.
bool is_sequence(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is(Kind::kList) ||
         value.is(Kind::kTuple) || value.is(Kind::kDict) || value.is(Kind::kRange);
}
bool is_callable(const Value& value) {
  return value.is(Kind::kCallable) || value.is(Kind::kLoop) || value.is_undefined();
}
bool is_escaped(const Value& /*value*/) {
  return false;
}

template <Operator op>
Value compares(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [other] = bind<1>("test", arguments, {"b"}, 1);
  return Value::boolean(compare(renderer.budget(), op, value, *other));
}

template <Integer divisor, Integer rest>
Value leaves(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("test", arguments, {});
  const Value found =
      arithmetic(renderer.budget(), Operator::kModulo, value, Value::integer(divisor));
  return Value::boolean(equal(renderer.budget(), found, Value::integer(rest)));
}

Value divisibleby(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [divisor] = bind<1>("divisibleby", arguments, {"num"}, 1);
  const Value rest = arithmetic(renderer.budget(), Operator::kModulo, value, *divisor);
  return Value::boolean(equal(renderer.budget(), rest, Value::integer(0)));
}

template <bool upper>
Value has_case(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("test", arguments, {});
  Arguments none;
  return find_string_method(upper ? "isupper" : "islower")
      ->run(renderer, renderer.text(renderer.print(value)), none);
}

Value sameas(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [other] = bind<1>("sameas", arguments, {"other"}, 1);
  if (value.kind() != other->kind()) return Value::boolean(false);
  // Small values are one object in Python; others are the same only if they are.
  if (!value.has_object() || value.is_string()) {
    return Value::boolean(equal(renderer.budget(), value, *other));
  }
  return Value::boolean(value.object() == other->object());
}

Value is_filter(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("filter", arguments, {});
  hash(renderer.budget(), value);  // a lookup, which fails for what cannot be hashed
  return Value::boolean(value.is_string() && find_filter(value.text()) != nullptr);
}
Value is_test(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("test", arguments, {});
  hash(renderer.budget(), value);
  return Value::boolean(value.is_string() && find_test(value.text()) != nullptr);
}

constexpr std::array<Builtin, 39> kTests = {{{"defined", simple<is_defined>},
                                             {"undefined", simple<is_undefined>},
                                             {"none", simple<is_none>},
                                             {"boolean", simple<is_boolean>},
                                             {"true", simple<is_the_true>},
                                             {"false", simple<is_the_false>},
                                             {"integer", simple<is_integer>},
                                             {"float", simple<is_float>},
                                             {"number", simple<is_number>},
                                             {"string", simple<is_string>},
                                             {"mapping", simple<is_mapping>},
                                             {"iterable", simple<is_iterable>},
                                             {"sequence", simple<is_sequence>},
                                             {"callable", simple<is_callable>},
                                             {"escaped", simple<is_escaped>},
                                             {"odd", leaves<2, 1>},
                                             {"even", leaves<2, 0>},
                                             {"divisibleby", divisibleby},
                                             {"lower", has_case<false>},
                                             {"upper", has_case<true>},
                                             {"sameas", sameas},
                                             {"filter", is_filter},
                                             {"test", is_test},
                                             {"in", compares<Operator::kIn>},
                                             {"==", compares<Operator::kEqual>},
                                             {"eq", compares<Operator::kEqual>},
                                             {"equalto", compares<Operator::kEqual>},
                                             {"!=", compares<Operator::kNotEqual>},
                                             {"ne", compares<Operator::kNotEqual>},
                                             {"<", compares<Operator::kLess>},
                                             {"lt", compares<Operator::kLess>},
                                             {"lessthan", compares<Operator::kLess>},
                                             {"<=", compares<Operator::kLessEqual>},
                                             {"le", compares<Operator::kLessEqual>},
                                             {">", compares<Operator::kGreater>},
                                             {"gt", compares<Operator::kGreater>},
                                             {"greaterthan", compares<Operator::kGreater>},
                                             {">=", compares<Operator::kGreaterEqual>},
                                             {"ge", compares<Operator::kGreaterEqual>}}};

}  // namespace

std::span<const Builtin> tests() {
  return kTests;
}

}  // namespace shoehorn::jinja
