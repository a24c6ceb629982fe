// Typed access to JSON values with errors that name the place.
#include "text/json_value.h"

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn::text {
namespace {

std::string_view name_of(JsonValue::Kind kind) {
  switch (kind) {
    case JsonValue::Kind::kNull: return "null";
    case JsonValue::Kind::kBool: return "a boolean";
    case JsonValue::Kind::kInteger: return "an integer";
    case JsonValue::Kind::kDouble: return "a number";
    case JsonValue::Kind::kString: return "a string";
    case JsonValue::Kind::kArray: return "an array";
    case JsonValue::Kind::kObject: return "an object";
  }
  return "";
}

}  // namespace

void JsonValue::fail(std::string_view what) const {
  throw FormatError(str_cat(place_, ": ", what));
}

void JsonValue::unsupported(std::string_view what) const {
  throw UnsupportedError(str_cat(place_, ": ", what));
}

void JsonValue::require(Kind kind, std::string_view name) const {
  if (kind_ != kind) fail(str_cat("expected ", name, ", found ", name_of(kind_)));
}

const JsonValue& JsonValue::get(std::string_view key) const {
  static const JsonValue null;
  require(Kind::kObject, "an object");
  for (const auto& [name, value] : members_) {
    if (name == key) return value;
  }
  return null;
}

const JsonValue& JsonValue::at(std::string_view key) const {
  const JsonValue& value = get(key);
  if (value.is_null()) fail(str_cat("the field \"", key, "\" is missing"));
  return value;
}

bool JsonValue::has(std::string_view key) const {
  return !get(key).is_null();
}

bool JsonValue::as_bool() const {
  require(Kind::kBool, "a boolean");
  return bool_;
}

std::int64_t JsonValue::as_integer() const {
  require(Kind::kInteger, "an integer");
  return integer_;
}

double JsonValue::as_double() const {
  if (kind_ == Kind::kInteger) return static_cast<double>(integer_);
  require(Kind::kDouble, "a number");
  return double_;
}

const std::string& JsonValue::as_string() const {
  require(Kind::kString, "a string");
  return string_;
}

const std::vector<JsonValue>& JsonValue::items() const {
  require(Kind::kArray, "an array");
  return items_;
}

const std::vector<JsonValue::Member>& JsonValue::members() const {
  require(Kind::kObject, "an object");
  return members_;
}

bool JsonValue::bool_or(std::string_view key, bool fallback) const {
  const JsonValue& value = get(key);
  return value.is_null() ? fallback : value.as_bool();
}

std::string JsonValue::string_or(std::string_view key, std::string_view fallback) const {
  const JsonValue& value = get(key);
  return value.is_null() ? std::string(fallback) : value.as_string();
}

}  // namespace shoehorn::text
