// The tables of filters and tests, by what they work on.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "text/jinja_renderer.h"

namespace shoehorn::jinja {

std::span<const Builtin> text_filters();      // jinja_text_filters.cc
std::span<const Builtin> list_filters();      // jinja_list_filters.cc
std::span<const Builtin> number_filters();    // jinja_number_filters.cc
std::span<const Builtin> sequence_filters();  // jinja_selection_filters.cc: lazy ones
std::span<const Builtin> tests();             // jinja_tests.cc

/// "a.b" or a number: what to take of each item, as filters' `attribute` means it.
class AttributePath {
 public:
  AttributePath(Renderer& renderer, const Value& path);
  /// The attribute; `otherwise`, if it is not null, in the place of undefined ones.
  Value of(Renderer& renderer, const Value& item, const Value* otherwise = nullptr) const;

 private:
  std::vector<Value> parts_;
};

/// The value, or its lower case where it is a string: how filters sort and compare by default.
Value ignore_case(Renderer& renderer, const Value& value);

}  // namespace shoehorn::jinja
