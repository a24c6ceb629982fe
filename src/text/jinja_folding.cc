// Constants: jinja2 evaluates what has no variables when it compiles a template, and keeps what it
// got where that can be written down as Python. Mostly nobody can tell; but there a slice of what
// cannot be sliced is undefined and no error, a repeated keyword replaces the first, and a constant
// that is not finite becomes a name that does not exist. Here such parts are evaluated when they
// are reached, by the optimizer's rules: what fails is evaluated once more by those of a rendering.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_parser.h"
#include "text/jinja_renderer.h"

namespace shoehorn::jinja {
namespace {

using Kind = Expression::Kind;

constexpr std::uint64_t kFailureSteps = 1000;  // what throwing costs beside other steps

bool is_open(const ExpressionPtr& operand) {
  return operand != nullptr && operand->is_open;
}

bool is_open(const Suffix& suffix) {
  if (suffix.kind == Suffix::Kind::kCall) return true;
  if (suffix.kind == Suffix::Kind::kFilter && takes_context(suffix)) return true;
  return std::ranges::any_of(suffix.operands,
                             [](const ExpressionPtr& operand) { return is_open(operand); }) ||
         std::ranges::any_of(suffix.arguments,
                             [](const Argument& argument) { return is_open(argument.value); });
}

/// Whether no value of the parts makes a constant of it.
bool is_always_open(const Expression& expression) {
  const auto& operands = expression.operands;
  switch (expression.kind) {
    case Kind::kName: return true;
    case Kind::kAnd:
    case Kind::kOr: return is_open(operands[0]);
    case Kind::kCompare: return is_open(operands[0]) || is_open(operands[1]);
    case Kind::kConditional:
      return is_open(operands[1]) || operands[2] == nullptr ||
             (is_open(operands[0]) && is_open(operands[2]));
    case Kind::kSuffixes:
      return is_open(operands[0]) ||
             std::ranges::any_of(expression.suffixes,
                                 [](const Suffix& suffix) { return is_open(suffix); });
    default:
      return std::ranges::any_of(operands,
                                 [](const ExpressionPtr& operand) { return is_open(operand); });
  }
}

bool starts_open(const Expression& expression) {
  const auto& operands = expression.operands;
  switch (expression.kind) {
    case Kind::kArithmetic: return is_open(operands[0]) || is_open(operands[1]);
    case Kind::kSuffixes: {
      const auto& suffixes = expression.suffixes;
      const bool calls_method = suffixes[0].kind == Suffix::Kind::kAttribute &&
                                suffixes.size() > 1 && suffixes[1].kind == Suffix::Kind::kCall;
      return is_open(operands[0]) || is_open(suffixes[0]) || calls_method;
    }
    default: return expression.is_open;
  }
}

bool is_odd(const Expression& expression) {
  switch (expression.kind) {
    case Kind::kFloat: return !std::isfinite(expression.number);
    case Kind::kArithmetic:
    case Kind::kSuffixes: return true;
    default:
      return std::ranges::any_of(expression.operands, [](const ExpressionPtr& operand) {
        return operand != nullptr && operand->is_odd;
      });
  }
}

/// jinja2's has_safe_repr.
bool is_safe(Budget& budget, const Value& value) {
  budget.spend(1);
  const auto safe = [&](const Value& item) { return is_safe(budget, item); };
  switch (value.kind()) {
    case Value::Kind::kNone:
    case Value::Kind::kBool:
    case Value::Kind::kInteger:
    case Value::Kind::kFloat:
    case Value::Kind::kString:
    case Value::Kind::kRange: return true;
    case Value::Kind::kList:
    case Value::Kind::kTuple:
      return !value.as<Sequence>().is_group && std::ranges::all_of(value.items(), safe);
    case Value::Kind::kDict:
      return std::ranges::all_of(value.dict().entries, [&](const Dict::Entry& entry) {
        return safe(entry.first) && safe(entry.second);
      });
    default: return false;
  }
}

/// The code of a constant: its floats are digits, or names of nothing.
void check_finite(const Value& value) {
  if (value.is(Value::Kind::kFloat) && !std::isfinite(value.as_double())) {
    const char* name = std::isnan(value.as_double()) ? "nan" : "inf";
    fail_runtime(str_cat("NameError: name '", name, "' is not defined"));
  } else if (value.is_sequence()) {
    std::ranges::for_each(value.items(), check_finite);
  } else if (value.is(Value::Kind::kDict)) {
    for (const auto& [key, item] : value.dict().entries) {
      check_finite(key);
      check_finite(item);
    }
  }
}

}  // namespace

bool takes_context(const Suffix& filter) {
  constexpr std::array<std::string_view, 6> kNames = {"map",        "random", "reject",
                                                      "rejectattr", "select", "selectattr"};
  return std::ranges::find(kNames, filter.name) != kNames.end();
}

void mark_constant(Expression& expression) {
  expression.is_open = is_always_open(expression);
  expression.is_odd = is_odd(expression);
  expression.folds = expression.is_odd && !starts_open(expression);
}

// Evaluates by the optimizer's rules for as long as it lives.
class Renderer::Folding {
 public:
  explicit Folding(Renderer& renderer) : renderer_(renderer) { renderer.is_folding_ = true; }
  ~Folding() { renderer_.is_folding_ = false; }
  Folding(const Folding&) = delete;
  Folding& operator=(const Folding&) = delete;

  /// A failure that only means: no constant. Others go on.
  void pass(const Failure& failure) {
    if (failure.kind == ErrorKind::kLimit) throw failure;
    renderer_.budget_.spend(kFailureSteps);
  }

 private:
  Renderer& renderer_;
};

Value Renderer::fail_folding() {
  fail_runtime("no constant");
}

// What is printed need not be written down, so that all constants count.
Value Renderer::evaluate_output(const Expression& expression) {
  if (expression.is_odd && !expression.is_open) {
    Folding folding(*this);
    try {
      return evaluate(expression);
    } catch (const Failure& failure) {
      folding.pass(failure);
    }
  }
  return evaluate(expression);
}

Renderer::Folded Renderer::fold(const Expression& expression) {
  Folded result;
  {
    Folding folding(*this);
    try {
      fold_chain(expression, result);
    } catch (const Failure& failure) {
      folding.pass(failure);
    }
  }
  if (result.used != 0) check_finite(result.value);
  return result;
}

// The longest part from the left that is a constant: jinja2's chains are nested to the left.
void Renderer::fold_chain(const Expression& expression, Folded& result) {
  const auto keep = [&](const Value& value, std::size_t used) {
    if (is_safe(budget_, value)) result = {value, used};
  };
  const auto& operands = expression.operands;
  switch (expression.kind) {
    case Kind::kSuffixes: {
      Value value = evaluate(*operands[0]);
      for (std::size_t i = 0; i < expression.suffixes.size(); ++i) {
        if (is_open(expression.suffixes[i])) return;
        value = apply(expression.suffixes[i], value);
        keep(value, i + 2);
      }
      return;
    }
    case Kind::kArithmetic: {
      Value value = evaluate(*operands[0]);
      for (std::size_t i = 1; i < operands.size(); ++i) {
        if (is_open(operands[i])) return;
        value = operate(expression, i, value);
        keep(value, i + 1);
      }
      return;
    }
    case Kind::kAnd:
    case Kind::kOr: {
      const bool stops_at = expression.kind == Kind::kOr;
      Value value = evaluate(*operands[0]);
      for (std::size_t i = 1; i < operands.size(); ++i) {
        if (is_true(value) == stops_at) return keep(value, kWhole);
        if (is_open(operands[i])) return;
        value = evaluate(*operands[i]);
        keep(value, i + 1);
      }
      return;
    }
    default: keep(evaluate_rest(expression, {}, 0), kWhole);
  }
}

Value Renderer::fold_slice(const Value& value, const std::vector<Value>& bounds) {
  try {
    return slice(value, bounds);
  } catch (const Failure& failure) {
    if (failure.kind != ErrorKind::kRuntime || !failure.message.starts_with("TypeError")) throw;
  }
  budget_.spend(kFailureSteps);
  return make_undefined(budget_, str_cat("'", type_name(value), "' object has no such part"));
}

// dict.update: pairs will do, and what was there is replaced.
void Renderer::fold_mapping(Arguments& out, const Value& value) {
  if (value.is_undefined()) fail_folding();
  if (value.is(Value::Kind::kDict)) {
    budget_.spend(value.dict().entries.size());
    for (const auto& [key, item] : value.dict().entries) {
      if (!key.is_string()) fail_folding();
      add_named(out, key.text(), item);
    }
    return;
  }
  for (const Value& pair : iterate(budget_, value)) {
    const std::vector<Value> parts = iterate(budget_, pair);
    if (parts.size() != 2 || !parts[0].is_string()) fail_folding();
    add_named(out, parts[0].text(), parts[1]);
  }
}

}  // namespace shoehorn::jinja
