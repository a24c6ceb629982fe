// The small part of a tokenizer.json: components as a tree of values that know where they stand, so
// that an error can say "pre_tokenizer.pretokenizers[1].pattern". Errors thrown here carry no file
// name; Tokenizer::from_json adds it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shoehorn::text {

class JsonValue {
 public:
  enum class Kind { kNull, kBool, kInteger, kDouble, kString, kArray, kObject };
  using Member = std::pair<std::string, JsonValue>;

  JsonValue() = default;
  JsonValue(std::string place, Kind kind) : place_(std::move(place)), kind_(kind) {}

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_object() const { return kind_ == Kind::kObject; }
  /// Where it stands in the file, like "decoder.decoders[2]".
  const std::string& place() const { return place_; }

  /// The member, or null if there is none. The value must be an object (FormatError).
  const JsonValue& get(std::string_view key) const;
  /// The member, which must be there and not null (FormatError).
  const JsonValue& at(std::string_view key) const;
  bool has(std::string_view key) const;

  // What the value is; FormatError naming the place if it is something else.
  bool as_bool() const;
  std::int64_t as_integer() const;
  double as_double() const;
  const std::string& as_string() const;
  const std::vector<JsonValue>& items() const;
  const std::vector<Member>& members() const;

  // Members with a default for missing and null.
  bool bool_or(std::string_view key, bool fallback) const;
  std::string string_or(std::string_view key, std::string_view fallback) const;

  /// Throws FormatError: "<place>: <what>".
  [[noreturn]] void fail(std::string_view what) const;
  /// Throws UnsupportedError: "<place>: <what>".
  [[noreturn]] void unsupported(std::string_view what) const;

  // For the reader that builds the tree.
  void set_bool(bool value) { bool_ = value; }
  void set_integer(std::int64_t value) { integer_ = value; }
  void set_double(double value) { double_ = value; }
  void set_string(std::string_view value) { string_ = value; }
  std::vector<JsonValue>& mutable_items() { return items_; }
  std::vector<Member>& mutable_members() { return members_; }

 private:
  void require(Kind kind, std::string_view name) const;

  std::string place_;
  Kind kind_ = Kind::kNull;
  bool bool_ = false;
  std::int64_t integer_ = 0;
  double double_ = 0;
  std::string string_;
  std::vector<JsonValue> items_;
  std::vector<Member> members_;
};

}  // namespace shoehorn::text
