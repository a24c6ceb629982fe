// Statements: control flow, variables, macros, output.
#include "text/jinja_renderer.h"

#include <algorithm>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_print.h"

namespace shoehorn::jinja {
namespace {

using Kind = Statement::Kind;

class Macro final : public Callable {
 public:
  Macro(Budget& budget, const MacroSyntax& syntax, const Block& body, Ref<Frame> closure)
      : Callable(budget, sizeof(Macro)),
        syntax_(syntax),
        body_(body),
        closure_(std::move(closure)) {}

  Value call(Renderer& renderer, Arguments arguments) override {
    // The macro may be dropped by its own body.
    const Ref<Callable> alive(this);
    return renderer.call_macro(syntax_, body_, closure_, std::move(arguments));
  }
  bool attribute(Renderer& renderer, std::string_view name, Value& value) const override {
    if (name == "name") {
      value = renderer.text(syntax_.name);
    } else if (name == "caller") {
      value = Value::boolean(syntax_.uses_caller);
    } else if (name == "catch_varargs") {
      value = Value::boolean(syntax_.uses_varargs);
    } else if (name == "catch_kwargs") {
      value = Value::boolean(syntax_.uses_kwargs);
    } else {
      return false;
    }
    return true;
  }
  std::string print() const override { return str_cat("<Macro '", syntax_.name, "'>"); }

 private:
  const MacroSyntax& syntax_;
  const Block& body_;
  Ref<Frame> closure_;
};

}  // namespace

// Another frame for as long as it lives.
class Renderer::Scope {
 public:
  Scope(Renderer& renderer, Ref<Frame> frame)
      : renderer_(renderer), saved_(std::exchange(renderer.frame_, std::move(frame))) {}
  ~Scope() { renderer_.frame_ = std::move(saved_); }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Renderer& renderer_;
  Ref<Frame> saved_;
};

// Another output for as long as it lives.
class Renderer::Capture {
 public:
  explicit Capture(Renderer& renderer)
      : renderer_(renderer), saved_(std::exchange(renderer.out_, &text_)) {}
  ~Capture() {
    renderer_.out_ = saved_;
    renderer_.budget_.release(text_.size());
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  Value take() {
    std::string text = std::move(text_);
    text_.clear();
    renderer_.budget_.release(text.size());
    text.shrink_to_fit();
    return renderer_.text(std::move(text));
  }

 private:
  Renderer& renderer_;
  std::string text_;
  std::string* saved_;
};

Renderer::Renderer(const Program& program, Budget& budget, const std::tm& now)
    : program_(program),
      budget_(budget),
      now_(now),
      context_(program.names.size()),
      in_context_(program.names.size()),
      constants_(program.constants.size()),
      has_constant_(program.constants.size()) {}

void Renderer::fail_depth() {
  fail(ErrorKind::kLimit, str_cat("more than ", Limits::kEvaluations,
                                  " expressions and statements inside one another"));
}

Renderer::~Renderer() {
  for (const Ref<Frame>& frame : kept_frames_) frame->variables.clear();
  for (const Value& value : kept_) {
    if (value.is(Value::Kind::kNamespace)) value.as<Namespace>().attributes.entries.clear();
  }
}

std::string Renderer::run(const Dict& variables) {
  for (NameId id = 0; id < program_.names.size(); ++id) {
    const std::string& name = program_.names[id];
    if (const Value* value = variables.find(name)) {
      context_[id] = *value;
      in_context_[id] = 1;
    } else if (find_function(budget_, name, context_[id])) {
      in_context_[id] = 1;
    }
  }
  root_ = new_frame({});
  frame_ = root_;
  keep_frames(root_);
  std::string out;
  out_ = &out;
  execute(program_.body);
  return out;
}

Ref<Frame> Renderer::new_frame(Ref<Frame> parent) {
  return make<Frame>(budget_, std::move(parent));
}

void Renderer::keep_frames(Ref<Frame> frame) {
  for (; frame && !frame->kept; frame = frame->parent) {
    frame->kept = true;
    kept_frames_.push_back(frame);
  }
}

void Renderer::write(std::string_view text) {
  budget_.spend_bytes(text.size());
  budget_.check_size(out_->size() + text.size());
  budget_.charge(text.size());
  out_->append(text);
}

void Renderer::write(const Value& value) {
  if (value.is_string()) {
    write(std::string_view(value.text()));
  } else if (!value.is_undefined()) {
    write(std::string_view(jinja::print(budget_, value)));
  }
}

std::string Renderer::print(const Value& value) {
  return jinja::print(budget_, value);
}

Renderer::Flow Renderer::execute(const Block& block) {
  for (const Statement& statement : block) {
    const Flow flow = execute(statement);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Renderer::Flow Renderer::execute(const Statement& statement) {
  const Nested nested(*this, statement.at);
  switch (statement.kind) {
    case Kind::kText: write(std::string_view(statement.text)); break;
    case Kind::kOutput:
      for (const ExpressionPtr& expression : statement.expressions) {
        write(evaluate_output(*expression));
      }
      break;
    case Kind::kIf: return execute_if(statement);
    case Kind::kFor: execute_for(statement); break;
    case Kind::kSet: execute_set(statement); break;
    case Kind::kSetBlock: assign(statement.targets[0], capture_filtered(statement)); break;
    case Kind::kWith: execute_with(statement); break;
    case Kind::kFilter: {
      const Value value = capture_filtered(statement);
      if (!value.is_string()) {
        fail_runtime(str_cat("TypeError: expected str instance, ", type_name(value), " found"));
      }
      write(value);
      break;
    }
    case Kind::kMacro: set(*frame_, statement.macro->id, new_macro(statement)); break;
    case Kind::kCall: execute_call(statement); break;
    case Kind::kScope: execute_scope(statement, frame_); break;
    case Kind::kRootScope: execute_scope(statement, root_); break;
    case Kind::kBreak: return Flow::kBreak;
    case Kind::kContinue: return Flow::kContinue;
    case Kind::kNoLoader: fail_runtime("TypeError: no loader for this environment specified");
  }
  return Flow::kNormal;
}

Renderer::Flow Renderer::execute_if(const Statement& statement) {
  for (std::size_t i = 0; i < statement.expressions.size(); ++i) {
    if (is_true(evaluate(*statement.expressions[i]))) return execute(statement.bodies[i]);
  }
  if (statement.bodies.size() > statement.expressions.size()) {
    return execute(statement.bodies.back());
  }
  return Flow::kNormal;
}

void Renderer::execute_scope(const Statement& statement, const Ref<Frame>& parent) {
  const Scope scope(*this, new_frame(parent));
  execute(statement.bodies[0]);
}

void Renderer::execute_for(const Statement& statement) {
  const Value source = evaluate(*statement.expressions[0]);
  const Ref<Loop> loop = make<Loop>(budget_, *this, statement, frame_, iterate(budget_, source),
                                    /*depth=*/0);
  bool completed = false;
  iterate_loop(Value(Value::Kind::kLoop, loop.get()), completed);
  // As in jinja2: unless one iteration reached its end, which is not what Python does.
  if (!completed && !statement.bodies[1].empty()) {
    const Scope scope(*this, new_frame(frame_));
    execute(statement.bodies[1]);
  }
}

// A frame, the loop's own variables and its target: what an empty iteration takes beside others.
constexpr std::uint64_t kIterationSteps = 5;

void Renderer::iterate_loop(const Value& loop_value, bool& completed) {
  auto& loop = loop_value.as<Loop>();
  const Ref<Frame> outer = loop.outer;
  Ref<Frame> frame;
  while (loop.advance()) {
    budget_.spend(kIterationSteps);
    if (!frame || frame->references() > 1 || frame->kept) {
      frame = new_frame(outer);
    } else {
      frame->variables.clear();
    }
    const Scope scope(*this, frame);
    set(*frame_, kLoopName, loop_value);
    assign(loop.statement.targets[0], loop.current);
    const Flow flow = execute(loop.statement.bodies[0]);
    if (flow == Flow::kBreak) return;
    if (flow == Flow::kNormal) completed = true;
  }
}

bool Renderer::passes(const Statement& loop, const Ref<Frame>& outer, const Value& item) {
  if (loop.expressions[1] == nullptr) return true;
  const Scope scope(*this, new_frame(outer));
  assign(loop.targets[0], item);
  return is_true(evaluate(*loop.expressions[1]));
}

// loop(items) of a recursive loop.
Value Renderer::run_loop(Loop& loop) {
  if (++calls_ > Limits::kCalls) {
    fail(ErrorKind::kLimit, str_cat("more than ", Limits::kCalls, " calls inside one another"));
  }
  Capture capture(*this);
  bool completed = false;
  iterate_loop(Value(Value::Kind::kLoop, &loop), completed);
  if (!completed) {
    const Scope scope(*this, new_frame(loop.outer));
    execute(loop.statement.bodies[1]);
  }
  --calls_;
  return capture.take();
}

void Renderer::execute_set(const Statement& statement) {
  assign(statement.targets[0], evaluate(*statement.expressions[0]));
}

void Renderer::execute_with(const Statement& statement) {
  std::vector<Value> values;
  for (const ExpressionPtr& expression : statement.expressions) {
    values.push_back(evaluate(*expression));
  }
  const Scope scope(*this, new_frame(frame_));
  for (std::size_t i = 0; i < values.size(); ++i) assign(statement.targets[i], values[i]);
  execute(statement.bodies[0]);
}

Value Renderer::capture_block(const Block& block) {
  const Scope scope(*this, new_frame(frame_));
  Capture capture(*this);
  execute(block);
  return capture.take();
}

Value Renderer::capture_filtered(const Statement& statement) {
  Value value = capture_block(statement.bodies[0]);
  for (const Suffix& filter : statement.filters) value = apply_filter(filter, value);
  return value;
}

Value Renderer::new_macro(const Statement& statement) {
  keep_frames(frame_);
  return Value(Value::Kind::kCallable,
               make<Macro>(budget_, *statement.macro, statement.bodies[0], frame_).get());
}

// {% call %}: the call, whose macro gets the body as its caller.
void Renderer::execute_call(const Statement& statement) {
  const Value caller = new_macro(statement);
  const Expression& expression = *statement.expressions[0];
  Value callee = evaluate(*expression.operands[0]);
  for (std::size_t i = 0; i + 1 < expression.suffixes.size(); ++i) {
    callee = apply(expression.suffixes[i], callee);
  }
  Arguments arguments = evaluate_arguments(expression.suffixes.back().arguments);
  arguments.named.emplace_back("caller", caller);
  write(call(callee, std::move(arguments)));
}

Value Renderer::call_macro(const MacroSyntax& macro, const Block& body, const Ref<Frame>& closure,
                           Arguments arguments) {
  if (++calls_ > Limits::kCalls) {
    fail(ErrorKind::kLimit, str_cat("more than ", Limits::kCalls, " calls inside one another"));
  }
  const Ref<Frame> frame = new_frame(closure);
  std::vector<char> given(arguments.named.size());
  const auto named = [&](std::string_view name) -> const Value* {
    for (std::size_t i = 0; i < arguments.named.size(); ++i) {
      if (arguments.named[i].first != name) continue;
      given[i] = 1;
      return &arguments.named[i].second;
    }
    return nullptr;
  };
  const Scope scope(*this, frame);
  const std::size_t positional = std::min(macro.parameters.size(), arguments.positional.size());
  bool has_caller = false;
  for (std::size_t i = 0; i < macro.parameters.size(); ++i) {
    const Parameter& parameter = macro.parameters[i];
    const std::string& name = program_.names[parameter.name];
    has_caller |= parameter.name == kCallerName;
    if (i < positional) {
      set(*frame, parameter.name, arguments.positional[i]);
    } else if (const Value* value = named(name)) {
      set(*frame, parameter.name, *value);
    } else if (parameter.default_value != nullptr) {
      set(*frame, parameter.name, evaluate(*parameter.default_value));
    } else {
      set(*frame, parameter.name,
          make_undefined(budget_, str_cat("parameter '", name, "' was not provided")));
    }
  }
  if (macro.uses_caller && !has_caller) {
    const Value* caller = named("caller");
    set(*frame, kCallerName,
        caller != nullptr ? *caller : make_undefined(budget_, "No caller defined"));
  }
  auto rest = make<Dict>(budget_);
  for (std::size_t i = 0; i < arguments.named.size(); ++i) {
    const auto& [name, value] = arguments.named[i];
    if (given[i] != 0) continue;
    if (!macro.uses_kwargs) {
      fail_runtime(
          str_cat("TypeError: macro '", macro.name, "' takes no keyword argument '", name, "'"));
    }
    rest->set(text(name), value);
  }
  if (macro.uses_kwargs) set(*frame, kKwargsName, Value(Value::Kind::kDict, rest.get()));
  if (macro.uses_varargs) {
    std::vector<Value> more(arguments.positional.begin() + static_cast<std::ptrdiff_t>(positional),
                            arguments.positional.end());
    set(*frame, kVarargsName, make_tuple(budget_, std::move(more)));
  } else if (arguments.positional.size() > macro.parameters.size()) {
    fail_runtime(str_cat("TypeError: macro '", macro.name, "' takes not more than ",
                         macro.parameters.size(), " argument(s)"));
  }
  Capture capture(*this);
  execute(body);
  --calls_;
  return capture.take();
}

void Renderer::set(Frame& frame, NameId name, Value value) {
  budget_.spend(1 + frame.variables.size() / 16);
  for (auto& [id, old] : frame.variables) {
    if (id != name) continue;
    old = std::move(value);
    return;
  }
  if (frame.variables.size() == frame.variables.capacity()) {
    const std::size_t more = std::max<std::size_t>(frame.variables.capacity(), 4);
    frame.charge(more * sizeof(frame.variables[0]));
    frame.variables.reserve(frame.variables.size() + more);
  }
  frame.variables.emplace_back(name, std::move(value));
}

void Renderer::assign(const Target& target, const Value& value) {
  if (target.is_tuple) {
    assign_tuple(target, value);
  } else if (!target.attribute.empty()) {
    assign_attribute(target, value);
  } else {
    set(*frame_, target.name, value);
  }
}

void Renderer::assign_tuple(const Target& target, const Value& value) {
  if (value.is_undefined()) at_ = target.at;
  const std::vector<Value> items = iterate(budget_, value);
  if (items.size() > target.parts.size()) {
    fail_runtime(
        str_cat("ValueError: too many values to unpack (expected ", target.parts.size(), ")"));
  }
  if (items.size() < target.parts.size()) {
    fail_runtime(str_cat("ValueError: not enough values to unpack (expected ", target.parts.size(),
                         ", got ", items.size(), ")"));
  }
  for (std::size_t i = 0; i < items.size(); ++i) assign(target.parts[i], items[i]);
}

void Renderer::assign_attribute(const Target& target, const Value& value) {
  const Value holder = lookup(target.name);
  if (!holder.is(Value::Kind::kNamespace)) {
    fail_runtime("TemplateRuntimeError: cannot assign attribute on non-namespace object");
  }
  if (target.attribute.starts_with('_')) {
    fail(ErrorKind::kSecurity,
         str_cat("Chat templates cannot store underscore-prefixed attributes on a namespace, but "
                 "got '",
                 target.attribute, "'. Please rename the attribute."));
  }
  // A namespace with itself in it cannot be printed or compared.
  holder.as<Namespace>().attributes.set(text(target.attribute), value);
}

Value Renderer::lookup(NameId name) {
  std::size_t steps = 0;
  for (const Frame* frame = frame_.get(); frame != nullptr; frame = frame->parent.get()) {
    for (const auto& [id, value] : frame->variables) {
      if (id == name) return value;
    }
    steps += 1 + frame->variables.size() / 16;
  }
  budget_.spend(steps);
  if (in_context_[name] != 0) return context_[name];
  return make_undefined(budget_, str_cat("'", program_.names[name], "' is undefined"));
}

Value Renderer::constant(std::uint32_t number) {
  if (has_constant_[number] == 0) {
    constants_[number] = text(program_.constants[number]);
    has_constant_[number] = 1;
  }
  return constants_[number];
}

}  // namespace shoehorn::jinja
