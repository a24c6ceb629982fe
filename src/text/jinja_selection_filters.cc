// Lazy filters: they give generators, whose items are made when they are first asked for.
#include <algorithm>
#include <array>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_arguments.h"
#include "text/jinja_filters.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

// The renderer outlives every generator of its rendering.
Value generator(Renderer& renderer, std::function<std::vector<Value>()> make_items) {
  return Value(Kind::kGenerator, make<Generator>(renderer.budget(), std::move(make_items)).get());
}

std::vector<Value> map_items(Renderer& renderer, const Value& value, Arguments arguments) {
  if (!is_true(value)) return {};
  std::vector<Value> result;
  const bool by_attribute = arguments.positional.empty() && !arguments.named.empty();
  if (by_attribute) {
    const auto [attribute, otherwise] = bind<2>("map", arguments, {"attribute", "default"}, 1);
    const AttributePath path(renderer, *attribute);
    for (const Value& item : iterate(renderer.budget(), value)) {
      result.push_back(path.of(renderer, item, otherwise));
    }
    return result;
  }
  if (arguments.positional.empty()) {
    fail_runtime("FilterArgumentError: map requires a filter argument");
  }
  const Value name = arguments.positional.front();
  require_text(name, "filter name");
  arguments.positional.erase(arguments.positional.begin());
  for (const Value& item : iterate(renderer.budget(), value)) {
    result.push_back(renderer.filter(name.text(), item, arguments));
  }
  return result;
}

Value map(Renderer& renderer, const Value& value, Arguments& arguments) {
  return generator(renderer,
                   [&renderer, value, arguments] { return map_items(renderer, value, arguments); });
}

std::vector<Value> select_items(Renderer& renderer, const Value& value, Arguments arguments,
                                bool by_attribute, bool wanted) {
  if (!is_true(value)) return {};
  Value attribute;
  if (by_attribute) {
    if (arguments.positional.empty()) {
      fail_runtime("FilterArgumentError: Missing parameter for attribute name");
    }
    attribute = arguments.positional.front();
    arguments.positional.erase(arguments.positional.begin());
  }
  const AttributePath path(renderer, attribute);
  Value test;
  if (!arguments.positional.empty()) {
    test = arguments.positional.front();
    require_text(test, "test name");
    arguments.positional.erase(arguments.positional.begin());
  }
  std::vector<Value> result;
  for (const Value& item : iterate(renderer.budget(), value)) {
    const Value looked_at = path.of(renderer, item);
    const bool holds =
        test.is_none() ? is_true(looked_at) : renderer.test(test.text(), looked_at, arguments);
    if (holds == wanted) result.push_back(item);
  }
  return result;
}

template <bool by_attribute, bool wanted>
Value select(Renderer& renderer, const Value& value, Arguments& arguments) {
  return generator(renderer, [&renderer, value, arguments] {
    return select_items(renderer, value, arguments, by_attribute, wanted);
  });
}

Value unique(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [case_sensitive, attribute] =
      bind<2>("unique", arguments, {"case_sensitive", "attribute"});
  const bool exact = bool_or(case_sensitive, false);
  const Value by = attribute == nullptr ? Value() : *attribute;
  return generator(renderer, [&renderer, value, exact, by] {
    const AttributePath path(renderer, by);
    const auto seen = make<Dict>(renderer.budget());
    std::vector<Value> result;
    for (const Value& item : iterate(renderer.budget(), value)) {
      Value key = path.of(renderer, item);
      if (!exact) key = ignore_case(renderer, key);
      if (seen->find(key) != nullptr) continue;
      seen->set(std::move(key), {});
      result.push_back(item);
    }
    return result;
  });
}

Value items(Renderer& renderer, const Value& value, Arguments& arguments) {
  bind<0>("items", arguments, {});
  return generator(renderer, [&renderer, value]() -> std::vector<Value> {
    if (value.is_undefined()) return {};
    if (!value.is(Kind::kDict)) fail_runtime("TypeError: Can only get item pairs from a mapping.");
    Arguments none;
    return iterate(renderer.budget(), find_method(value, "items")->run(renderer, value, none));
  });
}

Value batch(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [linecount, fill_with] = bind<2>("batch", arguments, {"linecount", "fill_with"}, 1);
  const std::int64_t size = integer_or(linecount, 0);
  const Value fill = fill_with == nullptr ? Value() : *fill_with;
  return generator(renderer, [&renderer, value, size, fill] {
    Budget& budget = renderer.budget();
    std::vector<Value> result;
    std::vector<Value> row;
    for (Value& item : iterate(budget, value)) {
      if (static_cast<std::int64_t>(row.size()) == size) {
        result.push_back(make_list(budget, std::exchange(row, {})));
      }
      row.push_back(std::move(item));
    }
    if (row.empty()) return result;
    if (!fill.is_none() && static_cast<std::int64_t>(row.size()) < size) {
      budget.check_count(static_cast<std::size_t>(size), sizeof(Value));
      row.resize(static_cast<std::size_t>(size), fill);
    }
    result.push_back(make_list(budget, std::move(row)));
    return result;
  });
}

Value slice(Renderer& renderer, const Value& value, Arguments& arguments) {
  const auto [slices, fill_with] = bind<2>("slice", arguments, {"slices", "fill_with"}, 1);
  const std::int64_t count = integer_or(slices, 0);
  const Value fill = fill_with == nullptr ? Value() : *fill_with;
  return generator(renderer, [&renderer, value, count, fill] {
    Budget& budget = renderer.budget();
    if (count <= 0) fail_runtime("ZeroDivisionError: integer division or modulo by zero");
    const std::vector<Value> all = iterate(budget, value);
    const std::size_t columns = static_cast<std::size_t>(count);
    budget.check_count(columns, sizeof(Value) + sizeof(Sequence));
    const std::size_t each = all.size() / columns;
    const std::size_t longer = all.size() % columns;
    std::vector<Value> result;
    std::size_t begin = 0;
    for (std::size_t i = 0; i < columns; ++i) {
      const std::size_t size = each + (i < longer ? 1 : 0);
      std::vector<Value> column(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                all.begin() + static_cast<std::ptrdiff_t>(begin + size));
      begin += size;
      if (!fill.is_none() && i >= longer) column.push_back(fill);
      result.push_back(make_list(budget, std::move(column)));
    }
    return result;
  });
}

constexpr std::array<Builtin, 9> kFilters = {{{"map", map},
                                              {"select", select<false, true>},
                                              {"reject", select<false, false>},
                                              {"selectattr", select<true, true>},
                                              {"rejectattr", select<true, false>},
                                              {"unique", unique},
                                              {"items", items},
                                              {"batch", batch},
                                              {"slice", slice}}};

}  // namespace

std::span<const Builtin> sequence_filters() {
  return kFilters;
}

}  // namespace shoehorn::jinja
