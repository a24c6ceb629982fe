#include "checkpoint/gguf_metadata.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

#include <simdjson.h>

#include "shoehorn/error.h"

#include "base/byte_order.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::gguf {
namespace {

std::string_view name_of(ValueType type) {
  constexpr std::array<std::string_view, 13> kNames = {
      "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return kNames[static_cast<std::size_t>(type)];
}

bool is_integer(ValueType type) {
  return type != ValueType::kFloat32 && type != ValueType::kFloat64 && type != ValueType::kBool &&
         type != ValueType::kString && type != ValueType::kArray;
}

/// The value of an integer type; nothing for a uint64 that does not fit.
std::optional<std::int64_t> integer_at(ValueType type, const std::byte* bytes) {
  switch (type) {
    case ValueType::kUint8: return read_le<std::uint8_t>(bytes);
    case ValueType::kInt8: return read_le<std::int8_t>(bytes);
    case ValueType::kUint16: return read_le<std::uint16_t>(bytes);
    case ValueType::kInt16: return read_le<std::int16_t>(bytes);
    case ValueType::kUint32: return read_le<std::uint32_t>(bytes);
    case ValueType::kInt32: return read_le<std::int32_t>(bytes);
    case ValueType::kInt64: return read_le<std::int64_t>(bytes);
    default: break;
  }
  const auto value = read_le<std::uint64_t>(bytes);
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(value);
}

double shortest_double(float value) {
  std::array<char, 32> text;
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
  double result = value;
  std::from_chars(text.data(), written.ptr, result);
  return result;
}

}  // namespace

std::size_t value_size(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool: return 1;
    case ValueType::kUint16:
    case ValueType::kInt16: return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32: return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64: return 8;
    case ValueType::kString:
    case ValueType::kArray: break;
  }
  return 0;
}

Metadata::Metadata(std::filesystem::path path, std::vector<std::byte> header,
                   std::vector<Entry> entries)
    : path_(std::move(path)), header_(std::move(header)), entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(),
            [this](const Entry& a, const Entry& b) { return key_of(a) < key_of(b); });
  const auto twice =
      std::adjacent_find(entries_.begin(), entries_.end(),
                         [this](const Entry& a, const Entry& b) { return key_of(a) == key_of(b); });
  if (twice != entries_.end()) {
    throw FormatError(path_, str_cat("metadata key ", printable(key_of(*twice)), " appears twice"));
  }
}

std::string_view Metadata::key_of(const Entry& entry) const {
  return {reinterpret_cast<const char*>(header_.data()) + entry.key_offset, entry.key_size};
}

std::string_view Metadata::string_at(std::size_t offset) const {
  const auto size = static_cast<std::size_t>(read_le<std::uint64_t>(header_.data() + offset));
  return {reinterpret_cast<const char*>(header_.data()) + offset + sizeof(std::uint64_t), size};
}

const Metadata::Entry* Metadata::find(std::string_view key) const {
  const auto found = std::lower_bound(
      entries_.begin(), entries_.end(), key,
      [this](const Entry& entry, std::string_view k) { return key_of(entry) < k; });
  return found != entries_.end() && key_of(*found) == key ? &*found : nullptr;
}

bool Metadata::is_array(std::string_view key) const {
  const Entry* entry = find(key);
  return entry != nullptr && entry->type == ValueType::kArray;
}

void Metadata::throw_kind(std::string_view key, const Entry& entry, const char* expected) const {
  std::string found(name_of(entry.type));
  if (entry.type == ValueType::kArray) found += str_cat(" of ", name_of(entry.element));
  throw FormatError(path_, str_cat(key, ": expected ", expected, ", found ", found));
}

void Metadata::throw_missing(std::string_view key) const {
  throw FormatError(path_, str_cat("metadata key ", key, " is missing"));
}

std::optional<std::uint64_t> Metadata::find_uint(std::string_view key) const {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (!is_integer(entry->type)) throw_kind(key, *entry, "an integer");
  const auto value = integer_at(entry->type, header_.data() + entry->offset);
  if (!value || *value < 0) {
    throw FormatError(path_, str_cat(key, ": the value is negative or beyond 63 bits"));
  }
  return static_cast<std::uint64_t>(*value);
}

std::optional<double> Metadata::find_double(std::string_view key) const {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  const std::byte* bytes = header_.data() + entry->offset;
  if (entry->type == ValueType::kFloat32) return shortest_double(read_le<float>(bytes));
  if (entry->type == ValueType::kFloat64) return read_le<double>(bytes);
  if (!is_integer(entry->type)) throw_kind(key, *entry, "a number");
  return static_cast<double>(integer_at(entry->type, bytes).value_or(0));
}

std::optional<bool> Metadata::find_bool(std::string_view key) const {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != ValueType::kBool) throw_kind(key, *entry, "a bool");
  return header_[entry->offset] != std::byte{0};
}

std::optional<std::string_view> Metadata::find_string(std::string_view key) const {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != ValueType::kString) throw_kind(key, *entry, "a string");
  const std::string_view text = string_at(entry->offset);
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    throw FormatError(path_, str_cat(key, ": the string is not UTF-8"));
  }
  return text;
}

std::optional<std::vector<std::string_view>> Metadata::find_strings(std::string_view key) const {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != ValueType::kArray || entry->element != ValueType::kString) {
    throw_kind(key, *entry, "an array of string");
  }
  std::vector<std::string_view> strings;
  strings.reserve(static_cast<std::size_t>(entry->count));
  std::size_t offset = entry->offset;
  for (std::uint64_t i = 0; i < entry->count; ++i) {
    strings.push_back(string_at(offset));
    offset += sizeof(std::uint64_t) + strings.back().size();
  }
  return strings;
}

std::optional<std::vector<std::int64_t>> Metadata::find_ints(std::string_view key) const {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  if (entry->type != ValueType::kArray || !is_integer(entry->element)) {
    throw_kind(key, *entry, "an array of integers");
  }
  std::vector<std::int64_t> values(static_cast<std::size_t>(entry->count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::byte* bytes = header_.data() + entry->offset + i * value_size(entry->element);
    const auto value = integer_at(entry->element, bytes);
    if (!value) throw FormatError(path_, str_cat(key, ": element ", i, " is beyond 63 bits"));
    values[i] = *value;
  }
  return values;
}

std::optional<std::vector<float>> Metadata::find_floats(std::string_view key) const {
  const Entry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  const bool is_float = entry->element == ValueType::kFloat32;
  if (entry->type != ValueType::kArray || !(is_float || is_integer(entry->element))) {
    throw_kind(key, *entry, "an array of float32");
  }
  std::vector<float> values(static_cast<std::size_t>(entry->count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::byte* bytes = header_.data() + entry->offset + i * value_size(entry->element);
    values[i] = is_float ? read_le<float>(bytes)
                         : static_cast<float>(integer_at(entry->element, bytes).value_or(0));
  }
  return values;
}

std::uint64_t Metadata::at_uint(std::string_view key) const {
  const auto value = find_uint(key);
  if (!value) throw_missing(key);
  return *value;
}

double Metadata::at_double(std::string_view key) const {
  const auto value = find_double(key);
  if (!value) throw_missing(key);
  return *value;
}

std::string_view Metadata::at_string(std::string_view key) const {
  const auto value = find_string(key);
  if (!value) throw_missing(key);
  return *value;
}

}  // namespace shoehorn::gguf
