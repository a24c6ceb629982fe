#include "checkpoint/config.h"

#include <cmath>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn {
namespace {

using Json = nlohmann::json;

// The deepest config we know of has 6 levels; the parser's memory grows with the depth.
constexpr int kMaxDepth = 64;

std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "a list";
    default: return printable(value.dump());
  }
}

std::optional<std::int64_t> as_integer(const Json& value) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > kMax) return std::nullopt;
  if (!value.is_number_integer()) return std::nullopt;
  return value.get<std::int64_t>();
}

std::optional<std::int64_t> as_size(const Json& value) {
  const auto number = as_integer(value);
  if (!number || *number < 1 || *number > std::numeric_limits<std::int32_t>::max()) {
    return std::nullopt;
  }
  return number;
}

std::optional<double> as_number(const Json& value) {
  if (!value.is_number()) return std::nullopt;
  const double number = value.get<double>();
  return std::isfinite(number) ? std::optional(number) : std::nullopt;
}

std::optional<bool> as_boolean(const Json& value) {
  return value.is_boolean() ? std::optional(value.get<bool>()) : std::nullopt;
}

std::optional<std::string> as_text(const Json& value) {
  return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
}

constexpr std::string_view kSize = "an integer from 1 to 2147483647";
constexpr std::string_view kInteger = "an integer";
constexpr std::string_view kNumber = "a number";
constexpr std::string_view kBoolean = "true or false";
constexpr std::string_view kText = "a string";

// "[json.exception.parse_error.101] parse error at ..." → "parse error at ...".
std::string without_prefix(std::string_view what) {
  const std::size_t end = what.find("] ");
  return printable(end == std::string_view::npos ? what : what.substr(end + 2));
}

}  // namespace

struct Config::Node {
  std::shared_ptr<const Json> document;  // owns `object`; shared by all nodes of one document
  const Json* object = nullptr;
  std::filesystem::path path;
  std::string prefix;  // "rope_scaling."

  // The value of a key; nullptr where it is absent or null.
  const Json* find(std::string_view key) const {
    const auto found = object->find(key);
    return found == object->end() || found->is_null() ? nullptr : &*found;
  }

  FormatError error(std::string_view key, std::string_view what) const {
    return FormatError(path, str_cat(prefix, printable(key), ": ", what));
  }

  FormatError unexpected(std::string_view key, std::string_view expected, const Json& found) const {
    return error(key, str_cat("expected ", expected, ", found ", describe(found)));
  }

  template <typename T>
  std::optional<T> find_as(std::string_view key, std::optional<T> (*convert)(const Json&),
                           std::string_view expected) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (auto converted = convert(*value)) return converted;
    throw unexpected(key, expected, *value);
  }

  template <typename T>
  T require(std::string_view key, std::optional<T> value, std::string_view expected) const {
    if (value) return *std::move(value);
    throw error(key, str_cat("is missing; expected ", expected));
  }

  template <typename T>
  std::vector<T> list(std::string_view key, std::optional<T> (*convert)(const Json&),
                      std::string_view expected) const {
    const Json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_array()) {
      throw unexpected(key, str_cat("a list, each entry ", expected), *value);
    }
    std::vector<T> items;
    items.reserve(value->size());
    for (const Json& item : *value) {
      auto converted = convert(item);
      if (!converted) {
        throw unexpected(str_cat(key, "[", items.size(), "]"), expected, item);
      }
      items.push_back(*std::move(converted));
    }
    return items;
  }
};

Config Config::parse(std::string_view json, const std::filesystem::path& path) {
  if (json.empty()) {
    throw FormatError(path, "there is no config.json; --config FILE names one");
  }
  const auto refuse_depth = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxDepth) {
      throw FormatError(path, str_cat("is nested deeper than ", kMaxDepth, " levels"));
    }
    return true;
  };
  auto node = std::make_shared<Node>();
  node->path = path;
  try {
    node->document = std::make_shared<const Json>(Json::parse(json, refuse_depth));
  } catch (const Json::exception& error) {
    throw FormatError(path, str_cat("is not valid JSON: ", without_prefix(error.what())));
  }
  node->object = node->document.get();
  if (!node->object->is_object()) {
    throw FormatError(path, str_cat("must be a JSON object, is ", describe(*node->object)));
  }
  return Config(std::move(node));
}

const std::filesystem::path& Config::path() const {
  return node_->path;
}

bool Config::has(std::string_view key) const {
  return node_->find(key) != nullptr;
}

bool Config::is_null(std::string_view key) const {
  const auto found = node_->object->find(key);
  return found != node_->object->end() && found->is_null();
}

std::vector<std::string> Config::keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : node_->object->items()) {
    if (!value.is_null()) keys.push_back(key);
  }
  return keys;
}

std::optional<std::int64_t> Config::find_size(std::string_view key) const {
  return node_->find_as(key, as_size, kSize);
}

std::optional<std::int64_t> Config::find_integer(std::string_view key) const {
  return node_->find_as(key, as_integer, kInteger);
}

std::optional<double> Config::find_number(std::string_view key) const {
  return node_->find_as(key, as_number, kNumber);
}

std::optional<bool> Config::find_boolean(std::string_view key) const {
  return node_->find_as(key, as_boolean, kBoolean);
}

std::optional<std::string> Config::find_text(std::string_view key) const {
  return node_->find_as(key, as_text, kText);
}

std::int64_t Config::size(std::string_view key) const {
  return node_->require(key, find_size(key), kSize);
}

std::int64_t Config::size(std::string_view key, std::int64_t absent) const {
  return find_size(key).value_or(absent);
}

std::int64_t Config::integer(std::string_view key) const {
  return node_->require(key, find_integer(key), kInteger);
}

std::int64_t Config::integer(std::string_view key, std::int64_t absent) const {
  return find_integer(key).value_or(absent);
}

double Config::number(std::string_view key) const {
  return node_->require(key, find_number(key), kNumber);
}

double Config::number(std::string_view key, double absent) const {
  return find_number(key).value_or(absent);
}

bool Config::boolean(std::string_view key) const {
  return node_->require(key, find_boolean(key), kBoolean);
}

bool Config::boolean(std::string_view key, bool absent) const {
  return find_boolean(key).value_or(absent);
}

std::string Config::text(std::string_view key) const {
  return node_->require(key, find_text(key), kText);
}

std::string Config::text(std::string_view key, std::string_view absent) const {
  return find_text(key).value_or(std::string(absent));
}

std::vector<std::int64_t> Config::integers(std::string_view key) const {
  if (const Json* value = node_->find(key)) {
    if (const auto alone = as_integer(*value)) return {*alone};
  }
  return node_->list(key, as_integer, kInteger);
}

std::vector<double> Config::numbers(std::string_view key) const {
  return node_->list(key, as_number, kNumber);
}

std::vector<std::string> Config::texts(std::string_view key) const {
  return node_->list(key, as_text, kText);
}

std::optional<Config> Config::find_child(std::string_view key) const {
  const Json* value = node_->find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) throw node_->unexpected(key, "an object", *value);
  auto child = std::make_shared<Node>(*node_);
  child->object = value;
  child->prefix = str_cat(node_->prefix, printable(key), ".");
  return Config(std::move(child));
}

Config Config::child(std::string_view key) const {
  return node_->require(key, find_child(key), "an object");
}

FormatError Config::error(std::string_view key, std::string_view what) const {
  return node_->error(key, what);
}

}  // namespace shoehorn
