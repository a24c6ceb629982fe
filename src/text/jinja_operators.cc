// Arithmetic as Python has it, with integers of 128 bits that are checked.
#include <cmath>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_renderer.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

constexpr std::array<std::string_view, 15> kSymbols = {
    "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};

std::string_view symbol(Operator op) {
  return kSymbols[static_cast<std::size_t>(op)];
}

[[noreturn]] void fail_overflow() {
  fail(ErrorKind::kLimit, "an integer of more than 127 bits");
}

[[noreturn]] void fail_types(Operator op, const Value& a, const Value& b) {
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  if (op == Operator::kAdd && (a.is_string() || a.is(Kind::kList) || a.is(Kind::kTuple))) {
    fail_runtime(str_cat("TypeError: can only concatenate ", type_name(a), " (not \"", type_name(b),
                         "\") to ", type_name(a)));
  }
  fail_runtime(str_cat("TypeError: unsupported operand type(s) for ", symbol(op), ": '",
                       type_name(a), "' and '", type_name(b), "'"));
}

Value repeat(Budget& budget, const Value& value, Integer count) {
  const std::size_t size = value.is_string() ? value.text().size() : value.items().size();
  if (count < 0 || size == 0) count = 0;
  constexpr Integer kMany = Integer{1} << 40;
  const auto times = static_cast<std::size_t>(count < kMany ? count : kMany);
  if (value.is_string()) {
    budget.check_text(times * size);
    std::string out;
    out.reserve(times * size);
    for (std::size_t i = 0; i < times; ++i) out += value.text();
    return make_text(budget, std::move(out));
  }
  budget.check_count(times * size, sizeof(Value));
  std::vector<Value> items;
  items.reserve(times * size);
  for (std::size_t i = 0; i < times; ++i) {
    items.insert(items.end(), value.items().begin(), value.items().end());
  }
  return value.is(Kind::kList) ? make_list(budget, std::move(items))
                               : make_tuple(budget, std::move(items));
}

Integer floor_divide(Integer a, Integer b) {
  if (b == -1) {
    Integer result;
    if (__builtin_sub_overflow(Integer{0}, a, &result)) fail_overflow();
    return result;
  }
  const Integer quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value power(Integer base, Integer exponent) {
  if (exponent < 0) {
    if (base == 0) {
      fail_runtime("ZeroDivisionError: 0.0 cannot be raised to a negative power");
    }
    return Value::number(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  Integer result = 1;
  while (exponent > 0) {
    if (exponent % 2 == 1 && __builtin_mul_overflow(result, base, &result)) fail_overflow();
    exponent /= 2;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) fail_overflow();
  }
  return Value::integer(result);
}

Value integer_arithmetic(Operator op, Integer a, Integer b) {
  Integer result = 0;
  bool overflow = false;
  switch (op) {
    case Operator::kAdd: overflow = __builtin_add_overflow(a, b, &result); break;
    case Operator::kSubtract: overflow = __builtin_sub_overflow(a, b, &result); break;
    case Operator::kMultiply: overflow = __builtin_mul_overflow(a, b, &result); break;
    case Operator::kDivide:
      if (b == 0) fail_runtime("ZeroDivisionError: division by zero");
      return Value::number(
          static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
    case Operator::kFloorDivide:
      if (b == 0) fail_runtime("ZeroDivisionError: integer division or modulo by zero");
      return Value::integer(floor_divide(a, b));
    case Operator::kModulo:
      if (b == 0) fail_runtime("ZeroDivisionError: integer modulo by zero");
      return Value::integer(b == -1 ? 0 : a - floor_divide(a, b) * b);
    default: return power(a, b);
  }
  if (overflow) fail_overflow();
  return Value::integer(result);
}

double float_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) rest += b;
  } else {
    rest = std::copysign(0.0, b);
  }
  return rest;
}

double float_floor_divide(double a, double b) {
  const double rest = float_modulo(a, b);
  const double quotient = (a - rest) / b;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

Value float_arithmetic(Operator op, double a, double b) {
  switch (op) {
    case Operator::kAdd: return Value::number(a + b);
    case Operator::kSubtract: return Value::number(a - b);
    case Operator::kMultiply: return Value::number(a * b);
    case Operator::kDivide:
      if (b == 0) fail_runtime("ZeroDivisionError: float division by zero");
      return Value::number(a / b);
    case Operator::kFloorDivide:
      if (b == 0) fail_runtime("ZeroDivisionError: float floor division by zero");
      return Value::number(float_floor_divide(a, b));
    case Operator::kModulo:
      if (b == 0) fail_runtime("ZeroDivisionError: float modulo");
      return Value::number(float_modulo(a, b));
    default: break;
  }
  if (a == 0 && b < 0) {
    fail_runtime("ZeroDivisionError: 0.0 cannot be raised to a negative power");
  }
  if (a < 0 && b != std::floor(b)) fail(ErrorKind::kRuntime, "complex numbers are not supported");
  const double result = std::pow(a, b);
  if (std::isinf(result) && !std::isinf(a) && !std::isinf(b)) {
    fail_runtime("OverflowError: (34, 'Numerical result out of range')");
  }
  return Value::number(result);
}

Value add(Budget& budget, const Value& a, const Value& b) {
  if (a.kind() != b.kind()) fail_types(Operator::kAdd, a, b);
  if (a.is_string()) {
    budget.check_text(a.text().size() + b.text().size());
    std::string out;
    out.reserve(a.text().size() + b.text().size());
    out += a.text();
    out += b.text();
    return make_text(budget, std::move(out));
  }
  if (!a.is(Kind::kList) && !a.is(Kind::kTuple)) fail_types(Operator::kAdd, a, b);
  budget.check_count(a.items().size() + b.items().size(), sizeof(Value));
  std::vector<Value> items;
  items.reserve(a.items().size() + b.items().size());
  items.insert(items.end(), a.items().begin(), a.items().end());
  items.insert(items.end(), b.items().begin(), b.items().end());
  return a.is(Kind::kList) ? make_list(budget, std::move(items))
                           : make_tuple(budget, std::move(items));
}

bool repeats(const Value& value) {
  return value.is_string() || value.is(Kind::kList) || value.is(Kind::kTuple);
}

}  // namespace

Value arithmetic(Budget& budget, Operator op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    return integer_arithmetic(op, a.as_integer(), b.as_integer());
  }
  if (a.is_number() && b.is_number()) return float_arithmetic(op, a.as_double(), b.as_double());
  if (op == Operator::kAdd) return add(budget, a, b);
  if (op == Operator::kMultiply && repeats(a) && b.is_integral()) {
    return repeat(budget, a, b.as_integer());
  }
  if (op == Operator::kMultiply && repeats(b) && a.is_integral()) {
    return repeat(budget, b, a.as_integer());
  }
  fail_types(op, a, b);
}

bool compare(Budget& budget, Operator op, const Value& a, const Value& b) {
  switch (op) {
    case Operator::kEqual: return equal(budget, a, b);
    case Operator::kNotEqual: return !equal(budget, a, b);
    case Operator::kLess: return less(budget, a, b);
    case Operator::kGreater: return less(budget, b, a, "<");
    case Operator::kLessEqual: {
      // Not !(b < a), which is true for what is no number.
      const bool smaller = less(budget, a, b, "<=");
      return smaller || equal(budget, a, b);
    }
    case Operator::kGreaterEqual: {
      const bool smaller = less(budget, b, a, ">=");
      return smaller || equal(budget, a, b);
    }
    case Operator::kIn: return contains(budget, b, a);
    case Operator::kNotIn: return !contains(budget, b, a);
    default: break;
  }
  return false;
}

Value negative(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (value.is(Kind::kFloat)) return Value::number(-value.as_double());
  if (!value.is_integral()) {
    fail_runtime(str_cat("TypeError: bad operand type for unary -: '", type_name(value), "'"));
  }
  Integer result;
  if (__builtin_sub_overflow(Integer{0}, value.as_integer(), &result)) fail_overflow();
  return Value::integer(result);
}

Value positive(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (value.is(Kind::kFloat)) return value;
  if (!value.is_integral()) {
    fail_runtime(str_cat("TypeError: bad operand type for unary +: '", type_name(value), "'"));
  }
  return Value::integer(value.as_integer());
}

std::int64_t integer_or(const Value* value, std::int64_t otherwise) {
  if (value == nullptr || value->is_none()) return otherwise;
  if (value->is_undefined()) fail_undefined(*value);
  if (!value->is_integral()) {
    fail_runtime(
        str_cat("TypeError: '", type_name(*value), "' object cannot be interpreted as an integer"));
  }
  constexpr Integer kMost = std::int64_t{1} << 62;
  const Integer integer = value->as_integer();
  return static_cast<std::int64_t>(integer > kMost ? kMost : integer < -kMost ? -kMost : integer);
}

bool bool_or(const Value* value, bool otherwise) {
  return value == nullptr ? otherwise : is_true(*value);
}

const std::string& require_text(const Value& value, std::string_view what) {
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is_string()) {
    fail_runtime(str_cat("TypeError: ", what, " must be str, not ", type_name(value)));
  }
  return value.text();
}

}  // namespace shoehorn::jinja
