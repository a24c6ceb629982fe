// Filters over lists and mappings that work at once.
#include <algorithm>
#include <array>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_filters.h"
#include "text/jinja_print.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

/// An item and what it is sorted by.
using Keyed = std::pair<Value, Value>;

void sort_keyed(Renderer& renderer, std::vector<Keyed>& items, bool reverse) {
  Budget& budget = renderer.budget();
  // Python's reverse keeps equal items in their order.
  std::ranges::stable_sort(items, [&](const Keyed& a, const Keyed& b) {
    return reverse ? less(budget, b.first, a.first) : less(budget, a.first, b.first);
  });
}

Value default_value(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [otherwise, boolean] = bind<2>("default", arguments, {"default_value", "boolean"});
  if (value.is_undefined() || (bool_or(boolean, false) && !is_true(value))) {
    return otherwise == nullptr ? renderer.text("") : *otherwise;
  }
  return value;
}

Value join(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [separator, attribute] = bind<2>("join", arguments, {"d", "attribute"});
  Budget& budget = renderer.budget();
  const std::string between = separator == nullptr ? "" : renderer.print(*separator);
  const AttributePath path(renderer, attribute == nullptr ? Value() : *attribute);
  std::string out;
  bool first = true;
  for (const Value& item : iterate(budget, value)) {
    if (!first) {
      budget.spend_bytes(between.size());
      out += between;
    }
    first = false;
    append_print(budget, out, path.of(renderer, item));
    budget.check_size(out.size());
  }
  return renderer.text(std::move(out));
}

Value first(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("first", arguments, {});
  Value result;
  if (value.is(Kind::kGenerator)) {
    if (value.as<Generator>().next(result)) return result;
  } else if (value.is(Kind::kLoop)) {
    if (value.as<Loop>().next(value, result)) return result;
  } else {
    const std::vector<Value> items = iterate(renderer.budget(), value);
    if (!items.empty()) return items.front();
  }
  return make_undefined(renderer.budget(), "No first item, sequence was empty.");
}

bool is_reversible(const Value& value) {
  return !value.is(Kind::kGenerator) && !value.is(Kind::kLoop);
}

Value last(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("last", arguments, {});
  if (!is_reversible(value)) {
    fail_runtime(str_cat("TypeError: '", type_name(value), "' object is not reversible"));
  }
  const std::vector<Value> items = iterate(renderer.budget(), value);
  if (!items.empty()) return items.back();
  return make_undefined(renderer.budget(), "No last item, sequence was empty.");
}

Value to_list(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("list", arguments, {});
  return make_list(renderer.budget(), iterate(renderer.budget(), value));
}

Value reverse(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("reverse", arguments, {});
  Budget& budget = renderer.budget();
  std::vector<Value> items = iterate(budget, value);
  std::ranges::reverse(items);
  if (value.is_string()) {
    std::string out;
    out.reserve(value.text().size());
    for (const Value& item : items) out += item.text();
    return renderer.text(std::move(out));
  }
  if (!is_reversible(value)) return make_list(budget, std::move(items));
  return Value(Kind::kGenerator,
               make<Generator>(budget, [items = std::move(items)] { return items; }).get());
}

Value sort(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [backwards, case_sensitive, attribute] =
      bind<3>("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  Budget& budget = renderer.budget();
  // "a,b": by a, then by b.
  std::vector<AttributePath> paths;
  if (attribute != nullptr && attribute->is_string()) {
    std::string_view rest = attribute->text();
    while (true) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      paths.emplace_back(renderer, renderer.text(std::string(rest.substr(0, comma))));
      if (comma == rest.size()) break;
      rest.remove_prefix(comma + 1);
    }
  } else {
    paths.emplace_back(renderer, attribute == nullptr ? Value() : *attribute);
  }
  std::vector<Keyed> items;
  for (Value& item : iterate(budget, value)) {
    std::vector<Value> keys;
    for (const AttributePath& path : paths) {
      Value key = path.of(renderer, item);
      keys.push_back(bool_or(case_sensitive, false) ? key : ignore_case(renderer, key));
    }
    items.emplace_back(make_list(budget, std::move(keys)), std::move(item));
  }
  sort_keyed(renderer, items, bool_or(backwards, false));
  std::vector<Value> result;
  result.reserve(items.size());
  for (Keyed& item : items) result.push_back(std::move(item.second));
  return make_list(budget, std::move(result));
}

template <bool wants_largest>
Value extreme(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [case_sensitive, attribute] =
      bind<2>(wants_largest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  Budget& budget = renderer.budget();
  const AttributePath path(renderer, attribute == nullptr ? Value() : *attribute);
  const std::vector<Value> items = iterate(budget, value);
  if (items.empty()) return make_undefined(budget, "No aggregated item, sequence was empty.");
  std::size_t best = 0;
  Value best_key;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Value key = path.of(renderer, items[i]);
    if (!bool_or(case_sensitive, false)) key = ignore_case(renderer, key);
    const bool better =
        i == 0 || (wants_largest ? less(budget, best_key, key, ">") : less(budget, key, best_key));
    if (!better) continue;
    best = i;
    best_key = std::move(key);
  }
  return items[best];
}

Value sum(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [attribute, start] = bind<2>("sum", arguments, {"attribute", "start"});
  Budget& budget = renderer.budget();
  const AttributePath path(renderer, attribute == nullptr ? Value() : *attribute);
  Value total = start == nullptr ? Value::integer(0) : *start;
  if (total.is_string()) {
    fail_runtime("TypeError: sum() can't sum strings [use ''.join(seq) instead]");
  }
  for (const Value& item : iterate(budget, value)) {
    total = arithmetic(budget, Operator::kAdd, total, path.of(renderer, item));
  }
  return total;
}

Value dictsort(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [case_sensitive, by, backwards] =
      bind<3>("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (value.is_undefined()) fail_undefined(value);
  if (!value.is(Kind::kDict)) fail_runtime("AttributeError: only mappings have items");
  const std::string which = by == nullptr ? "key" : require_text(*by, "by");
  if (which != "key" && which != "value") {
    fail_runtime("FilterArgumentError: You can only sort by either \"key\" or \"value\"");
  }
  Budget& budget = renderer.budget();
  std::vector<Keyed> items;
  for (const auto& [key, item] : value.dict().entries) {
    const Value& sorted_by = which == "key" ? key : item;
    items.emplace_back(
        bool_or(case_sensitive, false) ? sorted_by : ignore_case(renderer, sorted_by),
        make_tuple(budget, {key, item}));
  }
  sort_keyed(renderer, items, bool_or(backwards, false));
  std::vector<Value> result;
  for (Keyed& item : items) result.push_back(std::move(item.second));
  return make_list(budget, std::move(result));
}

Value groupby(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [attribute, otherwise, case_sensitive] =
      bind<3>("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  Budget& budget = renderer.budget();
  const AttributePath path(renderer, *attribute);
  std::vector<Keyed> items;
  for (Value& item : iterate(budget, value)) {
    Value key = path.of(renderer, item, otherwise);
    if (!bool_or(case_sensitive, false)) key = ignore_case(renderer, key);
    items.emplace_back(std::move(key), std::move(item));
  }
  sort_keyed(renderer, items, false);
  std::vector<Value> groups;
  for (std::size_t i = 0; i < items.size();) {
    std::vector<Value> members;
    const std::size_t begin = i;
    for (; i < items.size() && equal(budget, items[i].first, items[begin].first); ++i) {
      members.push_back(items[i].second);
    }
    const Value grouper = path.of(renderer, members.front(), otherwise);
    const auto group =
        make<Sequence>(budget, std::vector<Value>{grouper, make_list(budget, std::move(members))});
    group->is_group = true;
    groups.emplace_back(Kind::kTuple, group.get());
  }
  return make_list(budget, std::move(groups));
}

Value attr(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [name] = bind<1>("attr", arguments, {"name"}, 1);
  const std::string& attribute = require_text(*name, "attribute name");
  // An attribute only, never an item.
  if (value.is(Kind::kDict) && find_method(value, attribute) == nullptr &&
      !attribute.starts_with("__")) {
    return make_undefined(renderer.budget(),
                          str_cat("'dict object' has no attribute '", attribute, "'"));
  }
  return renderer.attribute(value, attribute);
}

constexpr std::array<Builtin, 14> kFilters = {{{"default", default_value},
                                               {"d", default_value},
                                               {"join", join},
                                               {"first", first},
                                               {"last", last},
                                               {"list", to_list},
                                               {"reverse", reverse},
                                               {"sort", sort},
                                               {"max", extreme<true>},
                                               {"min", extreme<false>},
                                               {"sum", sum},
                                               {"dictsort", dictsort},
                                               {"groupby", groupby},
                                               {"attr", attr}}};

}  // namespace

std::span<const Builtin> list_filters() {
  return kFilters;
}

}  // namespace shoehorn::jinja
