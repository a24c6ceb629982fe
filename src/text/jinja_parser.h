// The parser's state, shared by the files of expressions and of statements.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/jinja_syntax.h"

namespace shoehorn::jinja {

/// Fills is_open, is_odd and folds of an expression whose operands have theirs (jinja_folding.cc).
void mark_constant(Expression& expression);

class Parser {
 public:
  explicit Parser(std::string_view source);
  Program run();

 private:
  using Type = Token::Type;

  // Tokens.
  const Token& current() const { return tokens_[position_]; }
  const Token& look() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Token take();
  bool skip_operator(std::string_view symbol);
  bool skip_name(std::string_view name);
  Token expect_name();
  void expect_operator(std::string_view symbol);
  void expect_block_end();
  [[noreturn]] void fail_here(std::string message) const;

  // Limits: one of these lives in every recursive function.
  class Nested {
   public:
    explicit Nested(Parser& parser);
    ~Nested() { --parser_.depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Parser& parser_;
  };
  void count_node();
  const Builtin* check_known(const Builtin* builtin, const Suffix& suffix, std::string_view what);

  NameId name_id(const std::string& name);
  Expression new_expression(Expression::Kind kind);
  ExpressionPtr finish(Expression expression);

  // Expressions (jinja_expressions.cc), from loose to tight.
  ExpressionPtr expression(bool with_conditional = true);
  ExpressionPtr conditional();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr compare();
  ExpressionPtr sum();
  ExpressionPtr concat();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filter);
  ExpressionPtr primary();
  ExpressionPtr literal_list();
  ExpressionPtr literal_dict();
  enum class TupleEnd { kPlain, kIn, kRecursive };
  bool is_tuple_end(TupleEnd end) const;
  ExpressionPtr tuple(bool with_conditional, TupleEnd end, bool parentheses);
  template <typename Parse>
  ExpressionPtr chain(Expression::Kind kind, std::string_view keyword, const Parse& next);
  template <typename Parse, typename Match>
  ExpressionPtr arithmetic(const Parse& next, const Match& match);
  void postfix(Expression& chained);
  void filters_and_tests(Expression& chained);
  Suffix new_suffix(Suffix::Kind kind);
  Suffix dot();
  Suffix brackets();
  Suffix slice_or_item();
  Suffix call();
  Suffix filter();
  std::vector<Suffix> filter_chain();
  Suffix test();
  std::string dotted_name();
  std::vector<Argument> call_arguments();

  // Statements (jinja_statements.cc).
  Block block(const std::vector<std::string_view>& ends);
  void statement(Block& out);
  Statement new_statement(Statement::Kind kind) const;
  void parse_if(Block& out);
  void parse_for(Block& out);
  void parse_set(Block& out);
  void parse_with(Block& out);
  void parse_macro(Block& out);
  void parse_call(Block& out);
  void parse_filter_block(Block& out);
  void parse_block(Block& out);
  void parse_scope(Block& out, std::string_view end);
  void parse_loop_control(Block& out);
  void parse_no_loader(Block& out);
  void parse_print(Block& out);
  void parse_autoescape(Block& out);
  std::vector<Parameter> signature();
  Block macro_body(MacroSyntax& macro, std::string_view end);
  Block inner_block(const std::vector<std::string_view>& ends);
  Target target(bool with_namespace, bool with_tuple);
  Target single_target(bool with_namespace);

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  int depth_ = 0;
  std::size_t nodes_ = 0;
  // Unknown filters and tests are errors of the whole template, but inside an `if` or a conditional
  // expression only when they are reached.
  bool soft_ = false;
  std::vector<SyntaxFailure> unknown_;
  // Loops around, within the macro or block that is being read.
  int loops_ = 0;
  // The macros around, whose bodies are searched for varargs, kwargs and caller.
  std::vector<MacroSyntax*> macros_;
  std::unordered_map<std::string, NameId> ids_;
  Program program_;
};

}  // namespace shoehorn::jinja
