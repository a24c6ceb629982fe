// The parser: tokens, limits, expressions.
#include <algorithm>
#include <optional>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_parser.h"

namespace shoehorn::jinja {
namespace {

using Kind = Expression::Kind;

std::optional<Operator> sum_operator(const Token& token) {
  if (token.is_operator("+")) return Operator::kAdd;
  if (token.is_operator("-")) return Operator::kSubtract;
  return std::nullopt;
}

std::optional<Operator> product_operator(const Token& token) {
  if (token.is_operator("*")) return Operator::kMultiply;
  if (token.is_operator("/")) return Operator::kDivide;
  if (token.is_operator("//")) return Operator::kFloorDivide;
  if (token.is_operator("%")) return Operator::kModulo;
  return std::nullopt;
}

std::optional<Operator> power_operator(const Token& token) {
  if (token.is_operator("**")) return Operator::kPower;
  return std::nullopt;
}

std::optional<Operator> compare_operator(const Token& token) {
  if (token.is_operator("==")) return Operator::kEqual;
  if (token.is_operator("!=")) return Operator::kNotEqual;
  if (token.is_operator("<")) return Operator::kLess;
  if (token.is_operator("<=")) return Operator::kLessEqual;
  if (token.is_operator(">")) return Operator::kGreater;
  if (token.is_operator(">=")) return Operator::kGreaterEqual;
  return std::nullopt;
}

bool starts_test_argument(const Token& token) {
  switch (token.type) {
    case Token::Type::kName:
      return !token.is_name("else") && !token.is_name("or") && !token.is_name("and");
    case Token::Type::kString:
    case Token::Type::kInteger:
    case Token::Type::kFloat: return true;
    default: return token.is_operator("(") || token.is_operator("[") || token.is_operator("{");
  }
}

}  // namespace

Parser::Parser(std::string_view source) : tokens_(tokenize(source)) {
  for (const char* known : {"loop", "caller", "varargs", "kwargs", "self"}) name_id(known);
}

Token Parser::take() {
  Token token = tokens_[position_];
  if (position_ + 1 < tokens_.size()) ++position_;
  return token;
}

bool Parser::skip_operator(std::string_view symbol) {
  if (!current().is_operator(symbol)) return false;
  ++position_;
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  ++position_;
  return true;
}

Token Parser::expect_name() {
  if (!current().is(Type::kName)) {
    fail_here(str_cat("expected a name, got '", describe(current()), "'"));
  }
  return take();
}

void Parser::expect_operator(std::string_view symbol) {
  if (!skip_operator(symbol)) {
    fail_here(str_cat("expected token '", symbol, "', got '", describe(current()), "'"));
  }
}

void Parser::expect_block_end() {
  if (!current().is(Type::kBlockEnd)) {
    fail_here(str_cat("expected token 'end of statement block', got '", describe(current()), "'"));
  }
  take();
}

void Parser::fail_here(std::string message) const {
  fail_syntax(current().at, std::move(message));
}

Parser::Nested::Nested(Parser& parser) : parser_(parser) {
  if (++parser_.depth_ > Limits::kNesting) {
    throw SyntaxFailure{.at = parser_.current().at,
                        .message = str_cat("nested more than ", Limits::kNesting, " deep"),
                        .kind = ErrorKind::kLimit};
  }
}

void Parser::count_node() {
  if (++nodes_ > Limits::kNodes) {
    throw SyntaxFailure{
        .at = current().at,
        .message = str_cat("more than ", Limits::kNodes, " expressions and statements"),
        .kind = ErrorKind::kLimit};
  }
}

NameId Parser::name_id(const std::string& name) {
  const auto [found, is_new] = ids_.emplace(name, static_cast<NameId>(program_.names.size()));
  if (is_new) program_.names.push_back(name);
  return found->second;
}

Expression Parser::new_expression(Kind kind) {
  count_node();
  Expression result;
  result.kind = kind;
  result.at = current().at;
  return result;
}

ExpressionPtr Parser::finish(Expression expression) {
  mark_constant(expression);
  return std::make_unique<const Expression>(std::move(expression));
}

Suffix Parser::new_suffix(Suffix::Kind kind) {
  count_node();
  return {.kind = kind, .at = current().at, .name = {}, .operands = {}, .arguments = {}};
}

ExpressionPtr Parser::expression(bool with_conditional) {
  const Nested nested(*this);
  return with_conditional ? conditional() : parse_or();
}

ExpressionPtr Parser::conditional() {
  const Nested nested(*this);
  const std::size_t unknown = unknown_.size();
  ExpressionPtr value = parse_or();
  while (skip_name("if")) {
    Expression result = new_expression(Kind::kConditional);
    result.operands.push_back(std::move(value));
    result.operands.push_back(parse_or());
    result.operands.push_back(skip_name("else") ? conditional() : nullptr);
    value = finish(std::move(result));
    unknown_.resize(unknown);
  }
  return value;
}

// Operands with `keyword` between them.
template <typename Parse>
ExpressionPtr Parser::chain(Kind kind, std::string_view keyword, const Parse& next) {
  ExpressionPtr first = next();
  const auto goes_on = [&] {
    return kind == Kind::kConcat ? skip_operator(keyword) : skip_name(keyword);
  };
  if (!goes_on()) return first;
  Expression result = new_expression(kind);
  result.operands.push_back(std::move(first));
  do result.operands.push_back(next());
  while (goes_on());
  return finish(std::move(result));
}

ExpressionPtr Parser::parse_or() {
  return chain(Kind::kOr, "or", [this] { return parse_and(); });
}

ExpressionPtr Parser::parse_and() {
  return chain(Kind::kAnd, "and", [this] { return parse_not(); });
}

ExpressionPtr Parser::parse_not() {
  const Nested nested(*this);
  if (!current().is_name("not")) return compare();
  Expression result = new_expression(Kind::kNot);
  take();
  result.operands.push_back(parse_not());
  return finish(std::move(result));
}

ExpressionPtr Parser::compare() {
  ExpressionPtr first = sum();
  Expression result;
  result.kind = Kind::kCompare;
  result.at = current().at;
  while (true) {
    if (const auto op = compare_operator(current())) {
      take();
      result.operators.push_back(*op);
    } else if (skip_name("in")) {
      result.operators.push_back(Operator::kIn);
    } else if (current().is_name("not") && look().is_name("in")) {
      take();
      take();
      result.operators.push_back(Operator::kNotIn);
    } else {
      break;
    }
    if (result.operands.empty()) result.operands.push_back(std::move(first));
    count_node();
    result.operands.push_back(sum());
  }
  return result.operators.empty() ? std::move(first) : finish(std::move(result));
}

// Operands with operators between them that `match` knows.
template <typename Parse, typename Match>
ExpressionPtr Parser::arithmetic(const Parse& next, const Match& match) {
  ExpressionPtr first = next();
  if (!match(current())) return first;
  Expression result = new_expression(Kind::kArithmetic);
  result.operands.push_back(std::move(first));
  while (const auto op = match(current())) {
    take();
    count_node();
    result.operators.push_back(*op);
    result.operands.push_back(next());
  }
  return finish(std::move(result));
}

ExpressionPtr Parser::sum() {
  return arithmetic([this] { return concat(); }, sum_operator);
}

ExpressionPtr Parser::concat() {
  return chain(Kind::kConcat, "~", [this] { return product(); });
}

ExpressionPtr Parser::product() {
  return arithmetic([this] { return power(); }, product_operator);
}

ExpressionPtr Parser::power() {
  return arithmetic([this] { return unary(true); }, power_operator);
}

ExpressionPtr Parser::unary(bool with_filter) {
  const Nested nested(*this);
  ExpressionPtr node;
  Expression chained = new_expression(Kind::kSuffixes);
  if (current().is_operator("-") || current().is_operator("+")) {
    Expression sign =
        new_expression(current().is_operator("-") ? Kind::kNegative : Kind::kPositive);
    take();
    sign.operands.push_back(unary(false));
    node = finish(std::move(sign));
  } else {
    node = primary();
  }
  postfix(chained);
  if (with_filter) filters_and_tests(chained);
  if (chained.suffixes.empty()) return node;
  chained.operands.push_back(std::move(node));
  return finish(std::move(chained));
}

ExpressionPtr Parser::primary() {
  Expression result = new_expression(Kind::kNone);
  const Token& token = current();
  switch (token.type) {
    case Type::kName: {
      const Token name = take();
      if (name.text == "true" || name.text == "True" || name.text == "false" ||
          name.text == "False") {
        result.kind = Kind::kBool;
        result.boolean = (name.text[0] | 0x20) == 't';
      } else if (name.text != "none" && name.text != "None") {
        result.kind = Kind::kName;
        result.name = name_id(name.text);
        for (MacroSyntax* macro : macros_) {
          macro->uses_caller |= result.name == kCallerName;
          macro->uses_varargs |= result.name == kVarargsName;
          macro->uses_kwargs |= result.name == kKwargsName;
        }
      }
      return finish(std::move(result));
    }
    case Type::kString: {
      std::string text;
      while (current().is(Type::kString)) text += take().text;
      result.kind = Kind::kString;
      result.constant = static_cast<std::uint32_t>(program_.constants.size());
      program_.constants.push_back(std::move(text));
      return finish(std::move(result));
    }
    case Type::kInteger:
      result.kind = Kind::kInteger;
      result.integer = take().integer;
      return finish(std::move(result));
    case Type::kFloat:
      result.kind = Kind::kFloat;
      result.number = take().number;
      return finish(std::move(result));
    default: break;
  }
  if (skip_operator("(")) {
    ExpressionPtr inner = tuple(true, TupleEnd::kPlain, /*parentheses=*/true);
    expect_operator(")");
    return inner;
  }
  if (token.is_operator("[")) return literal_list();
  if (token.is_operator("{")) return literal_dict();
  fail_here(str_cat("unexpected '", describe(token), "'"));
}

ExpressionPtr Parser::literal_list() {
  Expression result = new_expression(Kind::kList);
  expect_operator("[");
  while (!current().is_operator("]")) {
    if (!result.operands.empty()) expect_operator(",");
    if (current().is_operator("]")) break;
    result.operands.push_back(expression());
  }
  expect_operator("]");
  return finish(std::move(result));
}

ExpressionPtr Parser::literal_dict() {
  Expression result = new_expression(Kind::kDict);
  expect_operator("{");
  while (!current().is_operator("}")) {
    if (!result.operands.empty()) expect_operator(",");
    if (current().is_operator("}")) break;
    result.operands.push_back(expression());
    expect_operator(":");
    result.operands.push_back(expression());
  }
  expect_operator("}");
  return finish(std::move(result));
}

bool Parser::is_tuple_end(TupleEnd end) const {
  if (current().is(Type::kVariableEnd) || current().is(Type::kBlockEnd)) return true;
  if (current().is_operator(")")) return true;
  return (end == TupleEnd::kIn && current().is_name("in")) ||
         (end == TupleEnd::kRecursive && current().is_name("recursive"));
}

ExpressionPtr Parser::tuple(bool with_conditional, TupleEnd end, bool parentheses) {
  Expression result = new_expression(Kind::kTuple);
  bool is_tuple = false;
  while (true) {
    if (!result.operands.empty()) expect_operator(",");
    if (is_tuple_end(end)) break;
    result.operands.push_back(expression(with_conditional));
    if (!current().is_operator(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return finish(std::move(result));
  if (!result.operands.empty()) return std::move(result.operands.front());
  if (!parentheses) {
    fail_here(str_cat("Expected an expression, got '", describe(current()), "'"));
  }
  return finish(std::move(result));
}

void Parser::postfix(Expression& chained) {
  while (true) {
    if (current().is_operator(".")) {
      chained.suffixes.push_back(dot());
    } else if (current().is_operator("[")) {
      chained.suffixes.push_back(brackets());
    } else if (current().is_operator("(")) {
      chained.suffixes.push_back(call());
    } else {
      return;
    }
  }
}

void Parser::filters_and_tests(Expression& chained) {
  while (true) {
    if (current().is_operator("|")) {
      take();
      chained.suffixes.push_back(filter());
    } else if (current().is_name("is")) {
      chained.suffixes.push_back(test());
    } else if (current().is_operator("(")) {
      chained.suffixes.push_back(call());
    } else {
      return;
    }
  }
}

Suffix Parser::dot() {
  Suffix result = new_suffix(Suffix::Kind::kAttribute);
  take();
  if (current().is(Type::kInteger)) {
    result.kind = Suffix::Kind::kItem;
    result.operands.push_back(primary());
  } else if (current().is(Type::kName)) {
    result.name = take().text;
  } else {
    fail_here("expected name or number");
  }
  return result;
}

Suffix Parser::brackets() {
  take();
  std::vector<Suffix> parts;
  Expression key = new_expression(Kind::kTuple);
  while (!current().is_operator("]")) {
    if (!parts.empty()) expect_operator(",");
    parts.push_back(slice_or_item());
  }
  expect_operator("]");
  if (parts.size() == 1) return std::move(parts.front());
  Suffix result = new_suffix(Suffix::Kind::kItem);
  for (Suffix& part : parts) {
    if (part.kind == Suffix::Kind::kSlice) fail_here("slices of several dimensions");
    key.operands.push_back(std::move(part.operands.front()));
  }
  result.operands.push_back(finish(std::move(key)));
  return result;
}

Suffix Parser::slice_or_item() {
  Suffix result = new_suffix(Suffix::Kind::kItem);
  const auto ends = [this] {
    return current().is_operator(":") || current().is_operator("]") || current().is_operator(",");
  };
  result.operands.push_back(current().is_operator(":") ? nullptr : expression());
  if (!skip_operator(":")) return result;
  result.kind = Suffix::Kind::kSlice;
  result.operands.push_back(ends() ? nullptr : expression());
  result.operands.push_back(skip_operator(":") && !ends() ? expression() : nullptr);
  return result;
}

Suffix Parser::call() {
  Suffix result = new_suffix(Suffix::Kind::kCall);
  result.arguments = call_arguments();
  // What jinja2 compiles to is no Python then.
  std::vector<std::string_view> names;
  for (const Argument& argument : result.arguments) {
    if (argument.kind == Argument::Kind::kNamed) names.push_back(argument.name);
  }
  std::ranges::sort(names);
  const auto repeated = std::ranges::adjacent_find(names);
  if (repeated != names.end()) fail_here(str_cat("keyword argument repeated: ", *repeated));
  return result;
}

std::vector<Argument> Parser::call_arguments() {
  std::vector<Argument> result;
  bool named = false;
  bool list = false;
  bool mapping = false;
  expect_operator("(");
  while (!current().is_operator(")")) {
    if (!result.empty()) {
      expect_operator(",");
      if (current().is_operator(")")) break;
    }
    Argument argument;
    bool misplaced = mapping;
    if (skip_operator("*")) {
      argument.kind = Argument::Kind::kList;
      misplaced |= std::exchange(list, true);
    } else if (skip_operator("**")) {
      argument.kind = Argument::Kind::kMapping;
      mapping = true;
    } else if (current().is(Type::kName) && look().is_operator("=")) {
      argument.kind = Argument::Kind::kNamed;
      argument.name = take().text;
      take();
      named = true;
    } else {
      misplaced |= list || named;
    }
    if (misplaced) fail_here("invalid syntax for function call expression");
    argument.value = expression();
    result.push_back(std::move(argument));
  }
  expect_operator(")");
  return result;
}

std::string Parser::dotted_name() {
  std::string name = expect_name().text;
  while (skip_operator(".")) name += "." + expect_name().text;
  return name;
}

const Builtin* Parser::check_known(const Builtin* builtin, const Suffix& suffix,
                                   std::string_view what) {
  if (builtin == nullptr && !soft_) {
    unknown_.push_back({.at = suffix.at,
                        .message = str_cat("No ", what, " named '", suffix.name, "'."),
                        .kind = ErrorKind::kRuntime});
  }
  return builtin;
}

// After the '|'.
Suffix Parser::filter() {
  Suffix result = new_suffix(Suffix::Kind::kFilter);
  result.name = dotted_name();
  result.builtin = check_known(find_filter(result.name), result, "filter");
  if (current().is_operator("(")) result.arguments = call_arguments();
  return result;
}

std::vector<Suffix> Parser::filter_chain() {
  std::vector<Suffix> result;
  while (skip_operator("|")) result.push_back(filter());
  return result;
}

Suffix Parser::test() {
  Suffix result = new_suffix(Suffix::Kind::kTest);
  take();
  if (skip_name("not")) result.kind = Suffix::Kind::kNotTest;
  result.name = dotted_name();
  result.builtin = check_known(find_test(result.name), result, "test");
  if (current().is_operator("(")) {
    result.arguments = call_arguments();
  } else if (starts_test_argument(current())) {
    if (current().is_name("is")) fail_here("You cannot chain multiple tests with is");
    Expression chained = new_expression(Kind::kSuffixes);
    ExpressionPtr node = primary();
    postfix(chained);
    Argument argument;
    if (chained.suffixes.empty()) {
      argument.value = std::move(node);
    } else {
      chained.operands.push_back(std::move(node));
      argument.value = finish(std::move(chained));
    }
    result.arguments.push_back(std::move(argument));
  }
  return result;
}

}  // namespace shoehorn::jinja
