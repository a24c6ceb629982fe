// The parser: statements.
#include <array>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_parser.h"

namespace shoehorn::jinja {
namespace {

using Kind = Statement::Kind;

// Sets a member for as long as a scope is read.
template <typename T>
class Restore {
 public:
  Restore(T& member, T value) : member_(member), saved_(std::exchange(member, value)) {}
  ~Restore() { member_ = saved_; }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;

 private:
  T& member_;
  T saved_;
};

}  // namespace

Program Parser::run() {
  program_.body = block({});
  if (!unknown_.empty()) throw unknown_.front();
  return std::move(program_);
}

// Statements up to one of the tags `ends`, whose name is left as the next token. Without `ends`: up
// to the end of the template.
Block Parser::block(const std::vector<std::string_view>& ends) {
  const Nested nested(*this);
  Block out;
  while (true) {
    const Token token = take();
    switch (token.type) {
      case Type::kData: {
        count_node();
        Statement text = new_statement(Kind::kText);
        text.text = token.text;
        out.push_back(std::move(text));
        break;
      }
      case Type::kVariableBegin: {
        Statement output = new_statement(Kind::kOutput);
        output.expressions.push_back(tuple(true, TupleEnd::kPlain, /*parentheses=*/false));
        if (!current().is(Type::kVariableEnd)) {
          fail_here(
              str_cat("expected token 'end of print statement', got '", describe(current()), "'"));
        }
        take();
        out.push_back(std::move(output));
        break;
      }
      case Type::kBlockBegin:
        for (const std::string_view end : ends) {
          if (current().is_name(end)) return out;
        }
        statement(out);
        break;
      default: {
        if (ends.empty()) return out;
        std::string wanted;
        for (const std::string_view end : ends) {
          wanted += str_cat(wanted.empty() ? "'" : " or '", end, "'");
        }
        fail_here(str_cat(
            "Unexpected end of template. Jinja was looking for the following tags: ", wanted, "."));
      }
    }
  }
}

// A block with variables of its own, in which unknown filters are errors again.
Block Parser::inner_block(const std::vector<std::string_view>& ends) {
  const Restore soft(soft_, false);
  return block(ends);
}

Statement Parser::new_statement(Kind kind) const {
  Statement result;
  result.kind = kind;
  result.at = current().at;
  return result;
}

// After "{%".
void Parser::statement(Block& out) {
  count_node();
  const Token& tag = current();
  if (!tag.is(Type::kName)) fail_here("tag name expected");
  using Parse = void (Parser::*)(Block&);
  struct Tag {
    std::string_view name;
    Parse parse;
  };
  constexpr std::array<Tag, 17> kTags = {{{"if", &Parser::parse_if},
                                          {"for", &Parser::parse_for},
                                          {"set", &Parser::parse_set},
                                          {"macro", &Parser::parse_macro},
                                          {"with", &Parser::parse_with},
                                          {"call", &Parser::parse_call},
                                          {"filter", &Parser::parse_filter_block},
                                          {"block", &Parser::parse_block},
                                          {"print", &Parser::parse_print},
                                          {"break", &Parser::parse_loop_control},
                                          {"continue", &Parser::parse_loop_control},
                                          {"autoescape", &Parser::parse_autoescape},
                                          {"include", &Parser::parse_no_loader},
                                          {"import", &Parser::parse_no_loader},
                                          {"from", &Parser::parse_no_loader},
                                          {"extends", &Parser::parse_no_loader},
                                          {"generation", nullptr}}};
  for (const Tag& known : kTags) {
    if (!tag.is_name(known.name)) continue;
    if (known.parse == nullptr) {
      take();
      parse_scope(out, "endgeneration");
    } else {
      (this->*known.parse)(out);
    }
    expect_block_end();
    return;
  }
  fail_here(str_cat("Encountered unknown tag '", tag.text, "'."));
}

void Parser::parse_if(Block& out) {
  const Restore soft(soft_, true);
  Statement result = new_statement(Kind::kIf);
  while (true) {
    take();  // if, elif
    result.expressions.push_back(tuple(false, TupleEnd::kPlain, false));
    expect_block_end();
    result.bodies.push_back(block({"elif", "else", "endif"}));
    if (current().is_name("elif")) {
      count_node();
      continue;
    }
    if (take().text == "else") {
      expect_block_end();
      result.bodies.push_back(block({"endif"}));
      take();
    }
    break;
  }
  out.push_back(std::move(result));
}

void Parser::parse_for(Block& out) {
  Statement result = new_statement(Kind::kFor);
  take();
  result.targets.push_back(target(/*with_namespace=*/false, /*with_tuple=*/true));
  if (!skip_name("in")) {
    fail_here(str_cat("expected token 'in', got '", describe(current()), "'"));
  }
  result.expressions.push_back(tuple(false, TupleEnd::kRecursive, false));
  {
    const Restore soft(soft_, false);
    result.expressions.push_back(skip_name("if") ? expression() : nullptr);
  }
  result.recursive = skip_name("recursive");
  expect_block_end();
  {
    const Restore loops(loops_, loops_ + 1);
    result.bodies.push_back(inner_block({"endfor", "else"}));
  }
  result.bodies.emplace_back();
  if (take().text == "else") {
    expect_block_end();
    result.bodies.back() = inner_block({"endfor"});
    take();
  }
  out.push_back(std::move(result));
}

void Parser::parse_set(Block& out) {
  Statement result = new_statement(Kind::kSet);
  take();
  result.targets.push_back(target(/*with_namespace=*/true, /*with_tuple=*/true));
  if (skip_operator("=")) {
    result.expressions.push_back(tuple(true, TupleEnd::kPlain, false));
  } else {
    result.kind = Kind::kSetBlock;
    result.filters = filter_chain();
    expect_block_end();
    const Restore loops(loops_, 0);
    result.bodies.push_back(inner_block({"endset"}));
    take();
  }
  out.push_back(std::move(result));
}

void Parser::parse_with(Block& out) {
  Statement result = new_statement(Kind::kWith);
  take();
  while (!current().is(Type::kBlockEnd)) {
    if (!result.targets.empty()) expect_operator(",");
    result.targets.push_back(target(false, true));
    expect_operator("=");
    result.expressions.push_back(expression());
  }
  expect_block_end();
  result.bodies.push_back(inner_block({"endwith"}));
  take();
  out.push_back(std::move(result));
}

std::vector<Parameter> Parser::signature() {
  std::vector<Parameter> result;
  expect_operator("(");
  while (!current().is_operator(")")) {
    if (!result.empty()) expect_operator(",");
    Parameter parameter;
    parameter.name = single_target(false).name;
    if (skip_operator("=")) {
      const Restore soft(soft_, false);
      parameter.default_value = expression();
    } else if (!result.empty() && result.back().default_value != nullptr) {
      fail_here("non-default argument follows default argument");
    }
    result.push_back(std::move(parameter));
  }
  expect_operator(")");
  return result;
}

Block Parser::macro_body(MacroSyntax& macro, std::string_view end) {
  const Restore loops(loops_, 0);
  macros_.push_back(&macro);
  Block body = inner_block({end});
  macros_.pop_back();
  take();
  return body;
}

void Parser::parse_macro(Block& out) {
  Statement result = new_statement(Kind::kMacro);
  take();
  auto macro = std::make_unique<MacroSyntax>();
  const Target name = single_target(false);
  macro->id = name.name;
  macro->name = program_.names[name.name];
  macro->parameters = signature();
  expect_block_end();
  result.bodies.push_back(macro_body(*macro, "endmacro"));
  result.macro = std::move(macro);
  out.push_back(std::move(result));
}

void Parser::parse_call(Block& out) {
  Statement result = new_statement(Kind::kCall);
  take();
  auto macro = std::make_unique<MacroSyntax>();
  macro->name = "caller";
  macro->id = kCallerName;
  if (current().is_operator("(")) macro->parameters = signature();
  ExpressionPtr call = expression();
  if (call->kind != Expression::Kind::kSuffixes ||
      call->suffixes.back().kind != Suffix::Kind::kCall) {
    fail_here("expected call");
  }
  result.expressions.push_back(std::move(call));
  expect_block_end();
  result.bodies.push_back(macro_body(*macro, "endcall"));
  result.macro = std::move(macro);
  out.push_back(std::move(result));
}

void Parser::parse_filter_block(Block& out) {
  Statement result = new_statement(Kind::kFilter);
  take();
  result.filters.push_back(filter());
  for (Suffix& more : filter_chain()) result.filters.push_back(std::move(more));
  expect_block_end();
  const Restore loops(loops_, 0);
  result.bodies.push_back(inner_block({"endfilter"}));
  take();
  out.push_back(std::move(result));
}

void Parser::parse_block(Block& out) {
  Statement result = new_statement(Kind::kRootScope);
  take();
  const std::string name = expect_name().text;
  skip_name("scoped");
  skip_name("required");
  if (current().is_operator("-")) {
    fail_here(
        "Block names in Jinja have to be valid Python identifiers and may not contain "
        "hyphens, use an underscore instead.");
  }
  expect_block_end();
  const Restore loops(loops_, 0);
  result.bodies.push_back(inner_block({"endblock"}));
  take();
  skip_name(name);
  out.push_back(std::move(result));
}

// A body with variables of its own; the tag's "%}" is next.
void Parser::parse_scope(Block& out, std::string_view end) {
  Statement result = new_statement(Kind::kScope);
  expect_block_end();
  const Restore loops(loops_, 0);
  result.bodies.push_back(inner_block({end}));
  take();
  out.push_back(std::move(result));
}

void Parser::parse_autoescape(Block& out) {
  take();
  const ExpressionPtr enabled = expression();
  if (enabled->kind != Expression::Kind::kBool || enabled->boolean) {
    fail_here("autoescape is not supported");
  }
  parse_scope(out, "endautoescape");
}

void Parser::parse_loop_control(Block& out) {
  Statement result = new_statement(current().is_name("break") ? Kind::kBreak : Kind::kContinue);
  if (loops_ == 0) fail_here(str_cat("'", current().text, "' outside of a loop"));
  take();
  out.push_back(std::move(result));
}

void Parser::parse_no_loader(Block& out) {
  Statement result = new_statement(Kind::kNoLoader);
  while (!current().is(Type::kBlockEnd) && !current().is(Type::kEnd)) take();
  out.push_back(std::move(result));
}

void Parser::parse_print(Block& out) {
  Statement result = new_statement(Kind::kOutput);
  take();
  while (!current().is(Type::kBlockEnd)) {
    if (!result.expressions.empty()) expect_operator(",");
    result.expressions.push_back(expression());
  }
  out.push_back(std::move(result));
}

Target Parser::single_target(bool with_namespace) {
  count_node();
  Target result;
  result.at = current().at;
  const Token name = expect_name();
  if (with_namespace && skip_operator(".")) {
    result.name = name_id(name.text);
    result.attribute = expect_name().text;
    return result;
  }
  for (const char* constant : {"true", "false", "none", "True", "False", "None"}) {
    if (name.text == constant) fail_here(str_cat("can't assign to '", constant, "'"));
  }
  result.name = name_id(name.text);
  return result;
}

Target Parser::target(bool with_namespace, bool with_tuple) {
  const Nested nested(*this);
  Target result;
  result.at = current().at;
  bool is_tuple = false;
  while (true) {
    if (!result.parts.empty()) expect_operator(",");
    if (is_tuple_end(TupleEnd::kIn)) break;
    if (current().is_operator("(")) {
      take();
      result.parts.push_back(target(with_namespace, true));
      expect_operator(")");
    } else {
      result.parts.push_back(single_target(with_namespace));
    }
    if (!with_tuple || !current().is_operator(",")) break;
    is_tuple = true;
  }
  if (result.parts.empty()) {
    fail_here(str_cat("Expected an expression, got '", describe(current()), "'"));
  }
  if (!is_tuple) {
    Target only = std::move(result.parts.front());
    return only;
  }
  result.is_tuple = true;
  return result;
}

Program parse(std::string_view source) {
  return Parser(source).run();
}

}  // namespace shoehorn::jinja
