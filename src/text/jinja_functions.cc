// What every template can call: range, dict, namespace, cycler, joiner, raise_exception and
// strftime_now.
#include <array>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_print.h"
#include "text/jinja_renderer.h"
#include "text/jinja_strftime.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

class Function final : public Callable {
 public:
  using Run = Value (*)(Renderer&, Arguments&);
  Function(Budget& budget, std::string_view name, Run run)
      : Callable(budget, sizeof(Function)), name_(name), run_(run) {}

  Value call(Renderer& renderer, Arguments arguments) override { return run_(renderer, arguments); }
  bool attribute(Renderer& renderer, std::string_view name, Value& value) const override {
    if (name_ != "dict" || name != "fromkeys") return false;
    const Value empty(Kind::kDict, make<Dict>(renderer.budget()).get());
    value = renderer.attribute(empty, name);
    return true;
  }
  std::string print() const override { return str_cat("<function ", name_, ">"); }

 private:
  std::string_view name_;
  Run run_;
};

/// cycler('a', 'b'): next(), current and reset().
class Cycler final : public Callable {
 public:
  Cycler(Budget& budget, std::vector<Value> items)
      : Callable(budget, sizeof(Cycler) + items.capacity() * sizeof(Value)),
        items_(std::move(items)) {}

  Value call(Renderer& /*renderer*/, Arguments /*arguments*/) override {
    fail_runtime("TypeError: 'Cycler' object is not callable");
  }
  bool attribute(Renderer& renderer, std::string_view name, Value& value) const override;
  std::string print() const override { return "<Cycler>"; }

  Value next() {
    const Value value = items_[position_];
    position_ = (position_ + 1) % items_.size();
    return value;
  }
  void reset() { position_ = 0; }

 private:
  std::vector<Value> items_;
  std::size_t position_ = 0;
};

class CyclerMethod final : public Callable {
 public:
  CyclerMethod(Budget& budget, Ref<Cycler> cycler, bool resets)
      : Callable(budget, sizeof(CyclerMethod)), cycler_(std::move(cycler)), resets_(resets) {}
  Value call(Renderer& /*renderer*/, Arguments arguments) override {
    bind<0>("next", arguments, {});
    if (!resets_) return cycler_->next();
    cycler_->reset();
    return {};
  }
  std::string print() const override { return "<bound method of Cycler>"; }

 private:
  Ref<Cycler> cycler_;
  bool resets_;
};

bool Cycler::attribute(Renderer& renderer, std::string_view name, Value& value) const {
  if (name == "current") {
    value = items_[position_];
    return true;
  }
  if (name != "next" && name != "reset") return false;
  // The method changes the cycler, which templates may.
  const Ref<Cycler> self(
      const_cast<Cycler*>(this));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  value =
      Value(Kind::kCallable, make<CyclerMethod>(renderer.budget(), self, name == "reset").get());
  return true;
}

/// joiner(', '): nothing the first time, then the separator.
class Joiner final : public Callable {
 public:
  Joiner(Budget& budget, Value separator)
      : Callable(budget, sizeof(Joiner)), separator_(std::move(separator)) {}
  Value call(Renderer& renderer, Arguments arguments) override {
    bind<0>("joiner", arguments, {});
    return std::exchange(used_, true) ? separator_ : renderer.text("");
  }
  std::string print() const override { return "<Joiner>"; }

 private:
  Value separator_;
  bool used_ = false;
};

/// `self`, of which only the printing is known.
class TemplateReference final : public Callable {
 public:
  explicit TemplateReference(Budget& budget) : Callable(budget) {}
  Value call(Renderer& /*renderer*/, Arguments /*arguments*/) override {
    fail_runtime("TypeError: 'TemplateReference' object is not callable");
  }
  std::string print() const override { return "<TemplateReference None>"; }
};

Value range(Renderer& renderer, Arguments& arguments) {
  const auto [first, second, third] = bind<3>("range", arguments, {"start", "stop", "step"}, 1);
  for (const Value* value : {first, second, third}) {
    if (value != nullptr && value->is_none()) {
      fail_runtime("TypeError: 'NoneType' object cannot be interpreted as an integer");
    }
  }
  const std::int64_t start = second == nullptr ? 0 : integer_or(first, 0);
  const std::int64_t stop = second == nullptr ? integer_or(first, 0) : integer_or(second, 0);
  return Value(Kind::kRange,
               make<Range>(renderer.budget(), start, stop, integer_or(third, 1)).get());
}

// What dict(...) and namespace(...) take: a mapping or pairs, and names.
void fill(Renderer& renderer, Dict& dict, const Arguments& arguments) {
  Budget& budget = renderer.budget();
  if (arguments.positional.size() > 1) {
    fail_runtime(
        str_cat("TypeError: dict expected at most 1 argument, got ", arguments.positional.size()));
  }
  for (const Value& source : arguments.positional) {
    if (source.is_undefined()) fail_undefined(source);
    if (source.is(Kind::kDict)) {
      for (const auto& [key, value] : source.dict().entries) dict.set(key, value);
      continue;
    }
    for (const Value& pair : iterate(budget, source)) {
      const std::vector<Value> parts = iterate(budget, pair);
      if (parts.size() != 2) {
        fail_runtime(str_cat("ValueError: dictionary update sequence element has length ",
                             parts.size(), "; 2 is required"));
      }
      dict.set(parts[0], parts[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) dict.set(renderer.text(name), value);
}

Value new_dict(Renderer& renderer, Arguments& arguments) {
  const auto dict = make<Dict>(renderer.budget());
  fill(renderer, *dict, arguments);
  return Value(Kind::kDict, dict.get());
}

Value new_namespace(Renderer& renderer, Arguments& arguments) {
  const auto result = make<Namespace>(renderer.budget());
  fill(renderer, result->attributes, arguments);
  for (const auto& [key, value] : result->attributes.entries) {
    if (!key.is_string() || !key.text().starts_with('_')) continue;
    fail(ErrorKind::kSecurity,
         str_cat("Chat templates cannot store underscore-prefixed attributes on a namespace, but "
                 "got '",
                 key.text(), "'. Please rename the attribute."));
  }
  const Value value(Kind::kNamespace, result.get());
  renderer.keep_until_end(value);
  return value;
}

Value cycler(Renderer& renderer, Arguments& arguments) {
  if (arguments.positional.empty())
    fail_runtime("RuntimeError: at least one item has to be provided");
  return Value(Kind::kCallable,
               make<Cycler>(renderer.budget(), std::move(arguments.positional)).get());
}

Value joiner(Renderer& renderer, Arguments& arguments) {
  const auto [separator] = bind<1>("joiner", arguments, {"sep"});
  return Value(
      Kind::kCallable,
      make<Joiner>(renderer.budget(), separator == nullptr ? renderer.text(", ") : *separator)
          .get());
}

Value raise_exception(Renderer& renderer, Arguments& arguments) {
  const auto [message] = bind<1>("raise_exception", arguments, {"message"}, 1);
  fail(ErrorKind::kRaised, renderer.print(*message));
}

Value strftime_now(Renderer& renderer, Arguments& arguments) {
  const auto [format] = bind<1>("strftime_now", arguments, {"format"}, 1);
  return renderer.text(
      strftime(renderer.budget(), renderer.now(), require_text(*format, "format")));
}

Value lipsum(Renderer& /*renderer*/, Arguments& /*arguments*/) {
  fail_runtime("lipsum is not supported in chat templates");
}

struct Named {
  std::string_view name;
  Function::Run run;
};
constexpr std::array<Named, 8> kFunctions = {{{"range", range},
                                              {"dict", new_dict},
                                              {"namespace", new_namespace},
                                              {"cycler", cycler},
                                              {"joiner", joiner},
                                              {"lipsum", lipsum},
                                              {"raise_exception", raise_exception},
                                              {"strftime_now", strftime_now}}};

}  // namespace

bool find_function(Budget& budget, std::string_view name, Value& value) {
  for (const Named& function : kFunctions) {
    if (function.name != name) continue;
    value = Value(Kind::kCallable, make<Function>(budget, function.name, function.run).get());
    return true;
  }
  if (name != "self") return false;
  value = Value(Kind::kCallable, make<TemplateReference>(budget).get());
  return true;
}

}  // namespace shoehorn::jinja
