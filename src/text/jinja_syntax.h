// A template as a tree, and the parser that makes it (jinja2's grammar, which is not Python's).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_lexer.h"

namespace shoehorn::jinja {

/// A variable's name, as a number.
using NameId = std::uint32_t;

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Argument {
  enum class Kind : std::uint8_t { kPositional, kNamed, kList, kMapping };  // a, n=a, *a, **a
  Kind kind = Kind::kPositional;
  std::string name;
  ExpressionPtr value;
};

enum class Operator : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,  // clang-format off
  kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual, kIn, kNotIn,
};  // clang-format on

/// One step of `a.b[c](d)|e is f`: chains are flat, so that a long one is no deep one.
struct Suffix {
  enum class Kind : std::uint8_t { kAttribute, kItem, kSlice, kCall, kFilter, kTest, kNotTest };
  Kind kind = Kind::kAttribute;
  Location at;
  std::string name;                     // of the attribute, filter or test
  std::vector<ExpressionPtr> operands;  // the key; start, stop and step, null where left out
  std::vector<Argument> arguments;
  const struct Builtin* builtin = nullptr;  // filters and tests; null: fails when it is reached
};

struct Expression {
  enum class Kind : std::uint8_t {
    kNone,
    kBool,
    kInteger,
    kFloat,
    kString,
    kName,
    kList,
    kTuple,
    kDict,  // key, value, key, value, ...
    kNot,
    kNegative,
    kPositive,
    kAnd,  // operands; the same for the next five
    kOr,
    kConcat,
    kArithmetic,  // with operators[i] before operands[i + 1]
    kCompare,
    kConditional,  // value, condition, other value (null: undefined)
    kSuffixes,     // operands[0] and what follows
  };
  Kind kind = Kind::kNone;
  bool boolean = false;
  // Of constants, which jinja2 evaluates when it compiles (jinja_folding.cc):
  bool is_open = false;  // no constant, whatever the values
  bool is_odd = false;   // has operations, which may differ from those of a rendering
  bool folds = false;    // the first operands and operations may be a constant
  Location at;
  NameId name = 0;
  std::uint32_t constant = 0;  // number among the strings of the template
  Integer integer = 0;
  double number = 0;
  std::vector<ExpressionPtr> operands;
  std::vector<Operator> operators;
  std::vector<Suffix> suffixes;
};

/// What can stand left of '=': a name, an attribute of a namespace, or a tuple of these.
struct Target {
  Location at;
  NameId name = 0;
  std::string attribute;  // of a namespace; empty: the name itself
  bool is_tuple = false;
  std::vector<Target> parts;
};

struct Statement;
using Block = std::vector<Statement>;

struct Parameter {
  NameId name = 0;
  ExpressionPtr default_value;  // null: none
};

/// A macro, or the body of a call block.
struct MacroSyntax {
  std::string name;
  NameId id = 0;
  std::vector<Parameter> parameters;
  bool uses_varargs = false;
  bool uses_kwargs = false;
  bool uses_caller = false;
};

struct Statement {
  enum class Kind : std::uint8_t {
    kText,
    kOutput,    // expressions
    kIf,        // expressions[i] guards bodies[i]; one body more: else
    kFor,       // expressions: sequence, condition or null; bodies: loop, else
    kSet,       // target = expressions[0]
    kSetBlock,  // target = bodies[0] through filters
    kWith,      // targets = expressions in bodies[0]
    kFilter,    // bodies[0] through filters
    kMacro,
    kCall,       // expressions[0] with bodies[0] as its caller
    kScope,      // bodies[0] with variables of its own
    kRootScope,  // the same, seeing top-level variables only
    kBreak,
    kContinue,
    kNoLoader,  // include, import, extends: nothing to load from
  };
  Kind kind = Kind::kText;
  bool recursive = false;
  Location at;
  std::string text;
  std::vector<ExpressionPtr> expressions;
  std::vector<Target> targets;
  std::vector<Suffix> filters;
  std::vector<Block> bodies;
  std::unique_ptr<const MacroSyntax> macro;
};

/// A compiled template: immutable, shared by renderings on any thread.
struct Program {
  Block body;
  std::vector<std::string> names;      // by NameId
  std::vector<std::string> constants;  // strings in it
};

/// Throws SyntaxFailure, also for unknown filters where jinja2 refuses to compile them, and for
/// templates beyond the limits.
Program parse(std::string_view source);

// Names that every program has, by number.
enum KnownName : NameId {
  kLoopName,
  kCallerName,
  kVarargsName,
  kKwargsName,
  kSelfName,
  kKnownNames
};

/// A filter that jinja2 hands its context, which is no constant.
bool takes_context(const Suffix& filter);

/// A filter or test that is implemented, or null.
const Builtin* find_filter(std::string_view name);
const Builtin* find_test(std::string_view name);

}  // namespace shoehorn::jinja
