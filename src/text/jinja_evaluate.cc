// Expressions.
#include <algorithm>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_print.h"
#include "text/jinja_renderer.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace shoehorn::jinja {
namespace {

using Kind = Expression::Kind;

// Python's slice.indices.
struct Slice {
  std::int64_t start;
  std::int64_t stop;
  std::int64_t step;
  std::vector<std::size_t> indices(Budget& budget, std::int64_t size) const {
    std::vector<std::size_t> result;
    budget.check_count(static_cast<std::size_t>(size), sizeof(std::size_t));
    // Steps beyond the text end at the first character.
    const std::int64_t stride = std::clamp(step, -size - 1, size + 1);
    for (std::int64_t i = start; stride > 0 ? i < stop : i > stop; i += stride) {
      result.push_back(static_cast<std::size_t>(i));
    }
    return result;
  }
};

Slice slice_of(const Value* start, const Value* stop, const Value* step, std::int64_t size) {
  Slice result{};
  result.step = integer_or(step, 1);
  if (result.step == 0) fail_runtime("ValueError: slice step cannot be zero");
  const bool forward = result.step > 0;
  const auto clamp = [&](const Value* bound, std::int64_t otherwise) {
    std::int64_t i = integer_or(bound, otherwise);
    if (bound == nullptr || bound->is_none()) return otherwise;
    if (i < 0) i += size;
    return forward ? std::clamp<std::int64_t>(i, 0, size)
                   : std::clamp<std::int64_t>(i, -1, size - 1);
  };
  result.start = clamp(start, forward ? 0 : size - 1);
  result.stop = clamp(stop, forward ? size : -1);
  return result;
}

// A part of a range is a range.
Ref<Range> slice_of_range(Budget& budget, const Range& range, const Slice& part) {
  const auto number = [](Integer value) {
    const auto result = static_cast<std::int64_t>(value);
    if (result != value)
      fail_runtime("OverflowError: Python int too large to convert to C ssize_t");
    return result;
  };
  const auto at = [&](std::int64_t i) { return number(range.start + Integer{i} * range.step); };
  return make<Range>(budget, at(part.start), at(part.stop),
                     number(Integer{range.step} * part.step));
}

}  // namespace

Value Renderer::evaluate(const Expression& expression) {
  const Nested nested(*this, expression.at);
  if (expression.folds && !is_folding_) {
    Folded folded = fold(expression);
    return evaluate_rest(expression, std::move(folded.value), folded.used);
  }
  return evaluate_rest(expression, {}, 0);
}

// Without the first operands, or suffixes, of which `value` was made.
Value Renderer::evaluate_rest(const Expression& expression, Value value, std::size_t first) {
  if (first == kWhole) return value;
  switch (expression.kind) {
    case Kind::kNone: return {};
    case Kind::kBool: return Value::boolean(expression.boolean);
    case Kind::kInteger: return Value::integer(expression.integer);
    case Kind::kFloat: return Value::number(expression.number);
    case Kind::kString: return constant(expression.constant);
    case Kind::kName: return is_folding_ ? fail_folding() : lookup(expression.name);
    case Kind::kList:
    case Kind::kTuple: return evaluate_list(expression);
    case Kind::kDict: return evaluate_dict(expression);
    case Kind::kNot: return Value::boolean(!is_true(evaluate(*expression.operands[0])));
    case Kind::kNegative: return negative(evaluate(*expression.operands[0]));
    case Kind::kPositive: return positive(evaluate(*expression.operands[0]));
    case Kind::kAnd:
    case Kind::kOr: return evaluate_logic(expression, std::move(value), first);
    case Kind::kConcat: return evaluate_concat(expression);
    case Kind::kArithmetic: return evaluate_arithmetic(expression, std::move(value), first);
    case Kind::kCompare: return evaluate_compare(expression);
    case Kind::kConditional: return evaluate_conditional(expression);
    case Kind::kSuffixes: return evaluate_suffixes(expression, std::move(value), first);
  }
  return {};
}

Value Renderer::evaluate_list(const Expression& expression) {
  std::vector<Value> items;
  items.reserve(expression.operands.size());
  for (const ExpressionPtr& operand : expression.operands) items.push_back(evaluate(*operand));
  return expression.kind == Kind::kList ? make_list(budget_, std::move(items))
                                        : make_tuple(budget_, std::move(items));
}

Value Renderer::evaluate_dict(const Expression& expression) {
  const auto dict = make<Dict>(budget_);
  for (std::size_t i = 0; i < expression.operands.size(); i += 2) {
    Value key = evaluate(*expression.operands[i]);
    dict->set(std::move(key), evaluate(*expression.operands[i + 1]));
  }
  return Value(Value::Kind::kDict, dict.get());
}

Value Renderer::evaluate_logic(const Expression& expression, Value value, std::size_t first) {
  const bool stops_at = expression.kind == Kind::kOr;
  for (std::size_t i = first; i < expression.operands.size(); ++i) {
    if (i > 0 && is_true(value) == stops_at) break;
    value = evaluate(*expression.operands[i]);
  }
  return value;
}

Value Renderer::evaluate_concat(const Expression& expression) {
  std::vector<Value> values;
  values.reserve(expression.operands.size());
  std::size_t size = 0;
  for (const ExpressionPtr& operand : expression.operands) {
    values.push_back(evaluate(*operand));
    if (values.back().is_string()) size += values.back().text().size();
  }
  budget_.check_text(size);
  std::string out;
  out.reserve(size);
  for (const Value& value : values) {
    append_print(budget_, out, value);
    budget_.check_size(out.size());
  }
  return text(std::move(out));
}

Value Renderer::evaluate_arithmetic(const Expression& expression, Value value, std::size_t first) {
  if (first == 0) value = evaluate(*expression.operands[first++]);
  for (std::size_t i = first; i < expression.operands.size(); ++i) {
    value = operate(expression, i, value);
  }
  return value;
}

// left, operator i - 1, operand i.
Value Renderer::operate(const Expression& expression, std::size_t i, const Value& left) {
  const Value right = evaluate(*expression.operands[i]);
  at_ = expression.at;
  const Operator op = expression.operators[i - 1];
  return op == Operator::kModulo && left.is_string()
             ? text(format_percent(*this, left.text(), right))
             : arithmetic(budget_, op, left, right);
}

Value Renderer::evaluate_compare(const Expression& expression) {
  Value left = evaluate(*expression.operands[0]);
  for (std::size_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(*expression.operands[i + 1]);
    at_ = expression.at;
    if (!compare(budget_, expression.operators[i], left, right)) return Value::boolean(false);
    left = std::move(right);
  }
  return Value::boolean(true);
}

Value Renderer::evaluate_conditional(const Expression& expression) {
  if (is_true(evaluate(*expression.operands[1]))) return evaluate(*expression.operands[0]);
  if (expression.operands[2] != nullptr) return evaluate(*expression.operands[2]);
  if (is_folding_) fail_folding();
  return make_undefined(budget_, str_cat("the inline if-expression on line ", expression.at.line,
                                         " evaluated to false and no else section was defined."));
}

// `first` counts the operand that the suffixes follow.
Value Renderer::evaluate_suffixes(const Expression& expression, Value value, std::size_t first) {
  if (first == 0) value = evaluate(*expression.operands[first++]);
  const std::vector<Suffix>& suffixes = expression.suffixes;
  for (std::size_t i = first - 1; i < suffixes.size(); ++i) {
    const Suffix& suffix = suffixes[i];
    budget_.spend(1);
    // A method that is called at once needs no object of its own.
    if (suffix.kind == Suffix::Kind::kAttribute && i + 1 < suffixes.size() &&
        suffixes[i + 1].kind == Suffix::Kind::kCall && !is_folding_) {
      const Method* method = find_method(value, suffix.name);
      if (method != nullptr && method->run != nullptr) {
        Arguments arguments = evaluate_arguments(suffixes[i + 1].arguments);
        at_ = suffix.at;
        value = method->run(*this, value, arguments);
        ++i;
        continue;
      }
    }
    value = apply(suffix, value);
  }
  return value;
}

Value Renderer::apply(const Suffix& suffix, const Value& value) {
  at_ = suffix.at;
  switch (suffix.kind) {
    case Suffix::Kind::kAttribute: return attribute(value, suffix.name);
    case Suffix::Kind::kItem: {
      const Value key = evaluate(*suffix.operands[0]);
      at_ = suffix.at;
      return item(value, key);
    }
    case Suffix::Kind::kSlice: return slice(suffix, value);
    case Suffix::Kind::kCall: {
      if (is_folding_) fail_folding();
      Arguments arguments = evaluate_arguments(suffix.arguments);
      at_ = suffix.at;
      return call(value, std::move(arguments));
    }
    case Suffix::Kind::kFilter: return apply_filter(suffix, value);
    case Suffix::Kind::kTest:
    case Suffix::Kind::kNotTest: {
      if (suffix.builtin == nullptr) {
        fail_runtime(str_cat("TemplateRuntimeError: No test named '", suffix.name, "' found."));
      }
      Arguments arguments = evaluate_arguments(suffix.arguments);
      at_ = suffix.at;
      const bool holds = is_true(suffix.builtin->run(*this, value, arguments));
      return Value::boolean(holds == (suffix.kind == Suffix::Kind::kTest));
    }
  }
  return {};
}

Value Renderer::apply_filter(const Suffix& suffix, const Value& value) {
  if (is_folding_ && takes_context(suffix)) fail_folding();
  if (suffix.builtin == nullptr) {
    fail_runtime(str_cat("TemplateRuntimeError: No filter named '", suffix.name, "' found."));
  }
  Arguments arguments = evaluate_arguments(suffix.arguments);
  at_ = suffix.at;
  return suffix.builtin->run(*this, value, arguments);
}

Value Renderer::filter(std::string_view name, const Value& value, Arguments arguments) {
  const Builtin* builtin = find_filter(name);
  if (builtin == nullptr) {
    fail_runtime(str_cat("TemplateRuntimeError: No filter named '", name, "'."));
  }
  budget_.spend(1);
  return builtin->run(*this, value, arguments);
}

bool Renderer::test(std::string_view name, const Value& value, Arguments arguments) {
  const Builtin* builtin = find_test(name);
  if (builtin == nullptr) {
    fail_runtime(str_cat("TemplateRuntimeError: No test named '", name, "'."));
  }
  budget_.spend(1);
  return is_true(builtin->run(*this, value, arguments));
}

Arguments Renderer::evaluate_arguments(const std::vector<Argument>& arguments) {
  Arguments result;
  for (const Argument& argument : arguments) {
    Value value = evaluate(*argument.value);
    switch (argument.kind) {
      case Argument::Kind::kPositional: result.positional.push_back(std::move(value)); break;
      case Argument::Kind::kNamed: add_named(result, argument.name, std::move(value)); break;
      case Argument::Kind::kList: spread_list(result, value); break;
      case Argument::Kind::kMapping:
        if (is_folding_) {
          fold_mapping(result, value);
        } else {
          spread_mapping(result, value);
        }
        break;
    }
  }
  return result;
}

void Renderer::add_named(Arguments& out, const std::string& name, Value value) const {
  for (auto& [known, old] : out.named) {
    if (known != name) continue;
    if (!is_folding_) fail_runtime(str_cat("SyntaxError: keyword argument repeated: ", name));
    old = std::move(value);
    return;
  }
  out.named.emplace_back(name, std::move(value));
}

void Renderer::spread_list(Arguments& out, const Value& value) {
  for (Value& item : iterate(budget_, value)) out.positional.push_back(std::move(item));
}

void Renderer::spread_mapping(Arguments& out, const Value& value) {
  if (!value.is(Value::Kind::kDict)) {
    fail_runtime(str_cat("TypeError: argument after ** must be a mapping, not ", type_name(value)));
  }
  budget_.spend(value.dict().entries.size());
  for (const auto& [key, item] : value.dict().entries) {
    out.named.emplace_back(require_text(key, "keywords"), item);
  }
}

Value Renderer::slice(const Suffix& suffix, const Value& value) {
  std::vector<Value> bounds;
  for (const ExpressionPtr& operand : suffix.operands) {
    bounds.push_back(operand == nullptr ? Value() : evaluate(*operand));
  }
  at_ = suffix.at;
  return is_folding_ ? fold_slice(value, bounds) : slice(value, bounds);
}

Value Renderer::slice(const Value& value, const std::vector<Value>& bounds) {
  if (value.is_undefined()) fail_undefined(value);
  const auto indices = [&](std::size_t size) {
    const auto length = static_cast<std::int64_t>(size);
    return slice_of(&bounds[0], &bounds[1], &bounds[2], length).indices(budget_, length);
  };
  if (value.is(Value::Kind::kList) || value.is(Value::Kind::kTuple)) {
    std::vector<Value> items;
    for (const std::size_t i : indices(value.items().size())) items.push_back(value.items()[i]);
    return value.is(Value::Kind::kList) ? make_list(budget_, std::move(items))
                                        : make_tuple(budget_, std::move(items));
  }
  if (value.is_string()) {
    const std::string& whole = value.text();
    budget_.spend_bytes(whole.size());
    const std::size_t size = text::count_characters(whole);
    const bool plain = bounds[2].is_none();
    if (plain) {
      const auto length = static_cast<std::int64_t>(size);
      const Slice range = slice_of(&bounds[0], &bounds[1], nullptr, length);
      if (range.stop <= range.start) return text("");
      const std::size_t begin =
          text::byte_of_character(whole, static_cast<std::size_t>(range.start));
      const std::string_view rest = std::string_view(whole).substr(begin);
      const std::size_t bytes =
          text::byte_of_character(rest, static_cast<std::size_t>(range.stop - range.start));
      return text(std::string(rest.substr(0, bytes)));
    }
    std::vector<std::string_view> characters;
    budget_.check_count(size, sizeof(std::string_view));
    characters.reserve(size);
    for (std::size_t i = 0; i < whole.size();) {
      const std::size_t bytes = text::sequence_length(whole[i]);
      characters.push_back(std::string_view(whole).substr(i, bytes));
      i += bytes;
    }
    std::string out;
    for (const std::size_t i : indices(size)) out += characters[i];
    return text(std::move(out));
  }
  if (value.is(Value::Kind::kRange)) {
    const auto& range = value.as<Range>();
    const Slice part = slice_of(&bounds[0], &bounds[1], &bounds[2], range.length);
    return Value(Value::Kind::kRange, slice_of_range(budget_, range, part).get());
  }
  fail_runtime(str_cat("TypeError: '", type_name(value), "' object is not subscriptable"));
}

Value Renderer::call(const Value& callee, Arguments arguments) {
  switch (callee.kind()) {
    case Value::Kind::kCallable: return callee.as<Callable>().call(*this, std::move(arguments));
    case Value::Kind::kLoop: {
      auto& loop = callee.as<Loop>();
      if (!loop.statement.recursive) {
        fail_runtime(
            "TypeError: The loop must have the 'recursive' marker to be called "
            "recursively.");
      }
      const auto [items] = bind<1>("loop", arguments, {"iterable"}, 1);
      const Ref<Loop> inner = make<Loop>(budget_, *this, loop.statement, loop.outer,
                                         iterate(budget_, *items), loop.depth0 + 1);
      return run_loop(*inner);
    }
    case Value::Kind::kUndefined: fail_undefined(callee);
    default: break;
  }
  fail_runtime(str_cat("TypeError: '", type_name(callee), "' object is not callable"));
}

}  // namespace shoehorn::jinja
