// config.json as the architectures read it: values by key, each with the type and range it must
// have. A null counts as absent, as it does in transformers, which writes one for every option
// that is not in use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoehorn/error.h"

namespace shoehorn {

/// A JSON object of a config. Immutable and thread-safe; cheap to copy.
///
/// Every reader throws FormatError naming the file, the key ("rope_scaling.factor"), what was
/// expected and what was found: where the value has another type, is out of range, or is absent
/// and has no default.
class Config {
 public:
  /// Parses the text of config.json; `path` is what messages call it. Throws FormatError where the
  /// text is empty, not a JSON object, or nested deeper than any config is. Where a key is there
  /// twice, the last one counts, as in Python.
  static Config parse(std::string_view json, const std::filesystem::path& path);

  const std::filesystem::path& path() const;
  /// The key is there and not null.
  bool has(std::string_view key) const;
  /// The key is there and null: for the few options whose default is not null.
  bool is_null(std::string_view key) const;
  /// The keys that are there and not null, sorted.
  std::vector<std::string> keys() const;

  /// A dimension or a count: an integer from 1 to 2^31 - 1, so that two of them multiply safely.
  std::int64_t size(std::string_view key) const;
  std::int64_t size(std::string_view key, std::int64_t absent) const;
  /// Any integer of 64 bits. 2.0 is not one, as in Python.
  std::int64_t integer(std::string_view key) const;
  std::int64_t integer(std::string_view key, std::int64_t absent) const;
  /// An integer or a decimal; always finite.
  double number(std::string_view key) const;
  double number(std::string_view key, double absent) const;
  bool boolean(std::string_view key) const;
  bool boolean(std::string_view key, bool absent) const;
  std::string text(std::string_view key) const;
  std::string text(std::string_view key, std::string_view absent) const;

  std::optional<std::int64_t> find_size(std::string_view key) const;
  std::optional<std::int64_t> find_integer(std::string_view key) const;
  std::optional<double> find_number(std::string_view key) const;
  std::optional<bool> find_boolean(std::string_view key) const;
  std::optional<std::string> find_text(std::string_view key) const;

  /// A list; empty where the key is absent. A lone integer is a list of one, as in eos_token_id.
  std::vector<std::int64_t> integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;
  std::vector<std::string> texts(std::string_view key) const;

  /// An object within this one: rope_parameters, text_config, quantization_config.
  Config child(std::string_view key) const;
  std::optional<Config> find_child(std::string_view key) const;

  /// What an architecture throws for a value that makes no sense to it: "FILE: KEY: what".
  FormatError error(std::string_view key, std::string_view what) const;

 private:
  struct Node;
  explicit Config(std::shared_ptr<const Node> node) : node_(std::move(node)) {}

  std::shared_ptr<const Node> node_;  // shared with the copies and children of this object
};

}  // namespace shoehorn
