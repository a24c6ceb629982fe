// One rendering: evaluates the tree of a template with a budget, frames of variables and an output.
#pragma once

#include <cstdint>
#include <ctime>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_syntax.h"
#include "text/jinja_value.h"

namespace shoehorn::jinja {

/// Variables of one scope. Macros keep the frame in which they were defined.
struct Frame : Object {
  Frame(Budget& budget, Ref<Frame> parent) : Object(budget), parent(std::move(parent)) {}
  Ref<Frame> parent;
  std::vector<std::pair<NameId, Value>> variables;
  bool kept = false;  // until the end of the rendering
};

/// A filter or a test: `value|name(arguments)`, `value is name(arguments)`.
struct Builtin {
  std::string_view name;
  Value (*run)(Renderer& renderer, const Value& value, Arguments& arguments);
};

/// `loop` in a for statement. Items are filtered when they are asked for, as in jinja2.
struct Loop : Object {
  Loop(Budget& budget, Renderer& renderer, const Statement& statement, Ref<Frame> outer,
       std::vector<Value> source, std::size_t depth);
  /// Steps to the next item; false at the end.
  bool advance();
  bool has_next();
  std::size_t length();
  /// What Python's next(loop) gives: a step, and the pair of its item and the loop, `self`.
  bool next(const Value& self, Value& pair);
  /// loop.name; undefined where there is none.
  Value attribute(std::string_view name);

  Renderer& renderer;
  const Statement& statement;
  Ref<Frame> outer;
  std::vector<Value> source;
  std::size_t position = 0;
  std::deque<Value> ready;  // passed the condition, not reached yet
  std::size_t index0 = static_cast<std::size_t>(-1);
  std::size_t depth0;
  Value previous;
  Value current;
  bool has_previous = false;
  std::vector<Value> last_changed;
  bool was_changed = false;

 private:
  bool fetch();
};

class Renderer {
 public:
  /// Borrows all three for its lifetime.
  Renderer(const Program& program, Budget& budget, const std::tm& now);
  ~Renderer();
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  /// Renders with the entries of `variables`. Once. Throws Failure; at() tells where.
  std::string run(const Dict& variables);
  Location at() const { return at_; }

  // What filters, tests and methods use.
  Budget& budget() { return budget_; }
  const std::tm& now() const { return now_; }
  Value text(std::string text) { return make_text(budget_, std::move(text)); }
  Value call(const Value& callee, Arguments arguments);
  /// value.name: a method or attribute, else the item of that key, else undefined.
  Value attribute(const Value& value, std::string_view name);
  /// value[key], the other way round.
  Value item(const Value& value, const Value& key);
  Value filter(std::string_view name, const Value& value, Arguments arguments);
  bool test(std::string_view name, const Value& value, Arguments arguments);
  std::string print(const Value& value);
  void keep_until_end(const Value& value) { kept_.push_back(value); }

  // What macros and loops use.
  Value call_macro(const MacroSyntax& macro, const Block& body, const Ref<Frame>& closure,
                   Arguments arguments);
  Value run_loop(Loop& loop);
  bool passes(const Statement& loop, const Ref<Frame>& outer, const Value& item);

 private:
  enum class Flow : std::uint8_t { kNormal, kBreak, kContinue };
  class Scope;
  class Capture;
  // Counts what is evaluated inside one another.
  class Nested {
   public:
    Nested(Renderer& renderer, Location at) : renderer_(renderer) {
      renderer.budget_.spend(1);
      renderer.at_ = at;
      if (renderer.depth_ >= Limits::kEvaluations) fail_depth();
      ++renderer.depth_;
    }
    ~Nested() { --renderer_.depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Renderer& renderer_;
  };
  [[noreturn]] static void fail_depth();

  Flow execute(const Block& block);
  Flow execute(const Statement& statement);
  Flow execute_if(const Statement& statement);
  void execute_for(const Statement& statement);
  void iterate_loop(const Value& loop_value, bool& completed);
  void execute_set(const Statement& statement);
  void execute_with(const Statement& statement);
  void execute_call(const Statement& statement);
  void execute_scope(const Statement& statement, const Ref<Frame>& parent);
  Value capture_block(const Block& block);
  Value capture_filtered(const Statement& statement);
  Value new_macro(const Statement& statement);
  void assign(const Target& target, const Value& value);
  void assign_tuple(const Target& target, const Value& value);
  void assign_attribute(const Target& target, const Value& value);

  Value evaluate(const Expression& expression);
  Value evaluate_logic(const Expression& expression, Value value, std::size_t first);
  Value evaluate_concat(const Expression& expression);
  Value evaluate_arithmetic(const Expression& expression, Value value, std::size_t first);
  Value evaluate_compare(const Expression& expression);
  Value evaluate_list(const Expression& expression);
  Value evaluate_dict(const Expression& expression);
  Value evaluate_conditional(const Expression& expression);
  Value evaluate_suffixes(const Expression& expression, Value value, std::size_t first);
  Value apply(const Suffix& suffix, const Value& value);
  Value apply_filter(const Suffix& suffix, const Value& value);
  Value slice(const Suffix& suffix, const Value& value);
  Value slice(const Value& value, const std::vector<Value>& bounds);
  Arguments evaluate_arguments(const std::vector<Argument>& arguments);
  void add_named(Arguments& out, const std::string& name, Value value) const;
  void spread_list(Arguments& out, const Value& value);
  void spread_mapping(Arguments& out, const Value& value);

  // What jinja2 does when it compiles a template (jinja_folding.cc).
  class Folding;
  static constexpr std::size_t kWhole = static_cast<std::size_t>(-1);
  struct Folded {
    Value value;
    std::size_t used = 0;  // operands, or suffixes and the operand before them; kWhole: all
  };
  [[noreturn]] static Value fail_folding();
  Value evaluate_output(const Expression& expression);
  Value operate(const Expression& expression, std::size_t i, const Value& left);
  Folded fold(const Expression& expression);
  void fold_chain(const Expression& expression, Folded& result);
  Value fold_slice(const Value& value, const std::vector<Value>& bounds);
  void fold_mapping(Arguments& out, const Value& value);
  Value evaluate_rest(const Expression& expression, Value value, std::size_t first);
  Value lookup(NameId name);
  Value constant(std::uint32_t number);

  void write(const Value& value);
  void write(std::string_view text);
  void set(Frame& frame, NameId name, Value value);
  Ref<Frame> new_frame(Ref<Frame> parent);
  void keep_frames(Ref<Frame> frame);

  const Program& program_;
  Budget& budget_;
  const std::tm& now_;
  Location at_;
  int depth_ = 0;
  int calls_ = 0;
  bool is_folding_ = false;  // an expression is evaluated as jinja2's optimizer does
  std::string* out_ = nullptr;
  Ref<Frame> frame_;
  Ref<Frame> root_;
  std::vector<Value> context_;  // by NameId; unset: undefined
  std::vector<char> in_context_;
  std::vector<Value> constants_;  // made when they are first used
  std::vector<char> has_constant_;
  // Frames that macros hold and namespaces may form circles: emptied at the end.
  std::vector<Ref<Frame>> kept_frames_;
  std::vector<Value> kept_;
};

// Operations (jinja_operators.cc).
Value arithmetic(Budget& budget, Operator op, const Value& a, const Value& b);
bool compare(Budget& budget, Operator op, const Value& a, const Value& b);
Value negative(const Value& value);
Value positive(const Value& value);

/// A method of a value's type (jinja_methods.cc), or null.
struct Method {
  std::string_view name;
  Value (*run)(Renderer& renderer, const Value& self, Arguments& arguments);  // null: unsafe
};
const Method* find_method(const Value& value, std::string_view name);
const Method* find_string_method(std::string_view name);

/// What every template can call: range, dict, namespace, ... (jinja_functions.cc); false where
/// there is no such name.
bool find_function(Budget& budget, std::string_view name, Value& value);

/// '...' % value, and '...'.format(...) (jinja_format.cc).
std::string format_percent(Renderer& renderer, std::string_view format, const Value& value);
std::string format_braces(Renderer& renderer, std::string_view format, const Arguments& arguments);

}  // namespace shoehorn::jinja
