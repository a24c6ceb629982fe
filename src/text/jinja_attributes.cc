// value.name and value[key]: jinja2 looks for attributes first after a dot, for items first in
// brackets. Names that start with "_" are out of reach.
#include <array>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_print.h"
#include "text/jinja_renderer.h"
#include "text/python_text.h"
#include "text/utf8.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

/// A method together with its value.
class BoundMethod final : public Callable {
 public:
  BoundMethod(Budget& budget, const Method& method, Value self)
      : Callable(budget, sizeof(BoundMethod)), method_(method), self_(std::move(self)) {}
  Value call(Renderer& renderer, Arguments arguments) override {
    const Ref<Callable> alive(this);
    return method_.run(renderer, self_, arguments);
  }
  std::string print() const override {
    return str_cat("<built-in method ", method_.name, " of ", type_name(self_), " object>");
  }

 private:
  const Method& method_;
  Value self_;
};

std::string object_name(const Value& value) {
  if (value.is_none()) return "None";
  return str_cat(type_name(value), " object");
}

Value missing_attribute(Renderer& renderer, const Value& value, std::string_view name) {
  return make_undefined(renderer.budget(),
                        str_cat("'", object_name(value), "' has no attribute '", name, "'"));
}

// What fails when it is used, not when it is read.
Value unsafe(Renderer& renderer, const Value& value, std::string_view name) {
  return make_undefined(
      renderer.budget(),
      str_cat("access to attribute '", name, "' of '", type_name(value), "' object is unsafe."),
      ErrorKind::kSecurity);
}

// Attributes that are no methods.
bool find_data(Renderer& renderer, const Value& value, std::string_view name, Value& out) {
  switch (value.kind()) {
    case Kind::kBool:
    case Kind::kInteger:
      if (name == "real" || name == "numerator") {
        out = Value::integer(value.as_integer());
      } else if (name == "imag") {
        out = Value::integer(0);
      } else if (name == "denominator") {
        out = Value::integer(1);
      } else {
        return false;
      }
      return true;
    case Kind::kFloat:
      if (name != "real" && name != "imag") return false;
      out = Value::number(name == "real" ? value.as_double() : 0);
      return true;
    case Kind::kTuple: {
      const auto& tuple = value.as<Sequence>();
      if (!tuple.is_group || (name != "grouper" && name != "list")) return false;
      out = tuple.items[name == "grouper" ? 0 : 1];
      return true;
    }
    case Kind::kRange: {
      const auto& range = value.as<Range>();
      if (name != "start" && name != "stop" && name != "step") return false;
      out = Value::integer(name == "start"  ? range.start
                           : name == "stop" ? range.stop
                                            : range.step);
      return true;
    }
    case Kind::kNamespace: {
      const Value* found = value.as<Namespace>().attributes.find(name);
      if (found == nullptr) return false;
      out = *found;
      return true;
    }
    case Kind::kLoop:
      out = value.as<Loop>().attribute(name);
      return !out.is_undefined() || name == "previtem" || name == "nextitem";
    case Kind::kCallable: return value.as<Callable>().attribute(renderer, name, out);
    default: return false;
  }
}

// True where the attribute exists; unsafe ones become undefined values.
bool find_attribute(Renderer& renderer, const Value& value, std::string_view name, Value& out) {
  if (name.starts_with("__") && name.ends_with("__") && name.size() > 4) {
    out = unsafe(renderer, value, name);
    return true;
  }
  if (name.starts_with('_')) return false;
  if (const Method* method = find_method(value, name)) {
    out = method->run == nullptr
              ? unsafe(renderer, value, name)
              : Value(Kind::kCallable, make<BoundMethod>(renderer.budget(), *method, value).get());
    return true;
  }
  return find_data(renderer, value, name, out);
}

bool find_item(Renderer& renderer, const Value& value, const Value& key, Value& out) {
  Budget& budget = renderer.budget();
  if (value.is(Kind::kDict)) {
    if (key.is(Kind::kList) || key.is(Kind::kDict)) return false;  // cannot be hashed
    const Value* found = value.dict().find(key);
    if (found == nullptr) return false;
    out = *found;
    return true;
  }
  if (!key.is_integral()) return false;
  const bool is_list = value.is(Kind::kList) || value.is(Kind::kTuple);
  if (!is_list && !value.is_string() && !value.is(Kind::kRange)) return false;
  Integer index = key.as_integer();
  const auto size = static_cast<Integer>(length(budget, value));
  if (index < 0) index += size;
  if (index < 0 || index >= size) return false;
  const auto at = static_cast<std::size_t>(index);
  if (is_list) {
    out = value.items()[at];
  } else if (value.is_string()) {
    const std::string& text = value.text();
    const std::size_t byte = text::byte_of_character(text, at);
    out = renderer.text(text.substr(byte, text::sequence_length(text[byte])));
  } else {
    out = Value::integer(value.as<Range>().at(static_cast<std::int64_t>(index)));
  }
  return true;
}

}  // namespace

Value Renderer::attribute(const Value& value, std::string_view name) {
  budget_.spend(1);
  if (value.is_undefined()) fail_undefined(value);
  Value out;
  if (find_attribute(*this, value, name, out)) return out;
  if (value.is(Kind::kDict)) {
    if (const Value* found = value.dict().find(name)) return *found;
  }
  return missing_attribute(*this, value, name);
}

Value Renderer::item(const Value& value, const Value& key) {
  budget_.spend(1);
  if (value.is_undefined()) fail_undefined(value);
  Value out;
  if (find_item(*this, value, key, out)) return out;
  if (key.is_string()) {
    if (find_attribute(*this, value, key.text(), out)) return out;
    return missing_attribute(*this, value, key.text());
  }
  std::string name;
  append_repr(budget_, name, key);
  return make_undefined(budget_, str_cat(object_name(value), " has no element ", name));
}

}  // namespace shoehorn::jinja
