// Looking up filters and tests, and what several filters share.
#include "text/jinja_filters.h"

#include <algorithm>
#include <charconv>

#include "text/python_text.h"

namespace shoehorn::jinja {
namespace {

const Builtin* find_in(std::span<const Builtin> table, std::string_view name) {
  const auto found = std::ranges::find(table, name, &Builtin::name);
  return found == table.end() ? nullptr : &*found;
}

}  // namespace

const Builtin* find_filter(std::string_view name) {
  for (const std::span<const Builtin> table :
       {text_filters(), list_filters(), number_filters(), sequence_filters()}) {
    if (const Builtin* found = find_in(table, name)) return found;
  }
  return nullptr;
}

const Builtin* find_test(std::string_view name) {
  return find_in(tests(), name);
}

AttributePath::AttributePath(Renderer& renderer, const Value& path) {
  if (path.is_none()) return;
  if (!path.is_string()) {
    parts_.push_back(path);
    return;
  }
  std::string_view rest = path.text();
  while (true) {
    renderer.budget().spend(1);
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    const std::string_view part = rest.substr(0, dot);
    std::int64_t number = 0;
    const auto result = std::from_chars(part.data(), part.data() + part.size(), number);
    const bool is_number = !part.starts_with('-') && result.ec == std::errc() &&
                           result.ptr == part.data() + part.size();
    parts_.push_back(is_number ? Value::integer(number) : renderer.text(std::string(part)));
    if (dot == rest.size()) break;
    rest.remove_prefix(dot + 1);
  }
}

Value AttributePath::of(Renderer& renderer, const Value& item, const Value* otherwise) const {
  Value value = item;
  for (const Value& part : parts_) {
    value = renderer.item(value, part);
    if (otherwise != nullptr && !otherwise->is_none() && value.is_undefined()) value = *otherwise;
  }
  return value;
}

Value ignore_case(Renderer& renderer, const Value& value) {
  if (!value.is_string()) return value;
  renderer.budget().spend_characters(value.text().size());
  return renderer.text(text::python_lower(value.text()));
}

}  // namespace shoehorn::jinja
