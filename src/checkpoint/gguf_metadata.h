// The key-value pairs of a GGUF file: every value type, read from the header's own bytes on demand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace shoehorn::gguf {

/// GGUF's numbering of value types.
enum class ValueType : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// Bytes of one value of a fixed-size type; 0 for strings and arrays.
std::size_t value_size(ValueType type);

/// Owns the header's bytes, so that strings are views into it. Immutable and thread-safe. Every
/// find_ answers nothing where the key is missing and throws FormatError, naming file and key,
/// where the value is of another kind.
class Metadata {
 public:
  /// Where a value lies in the header. The reader has checked that all of it is there.
  struct Entry {
    std::size_t key_offset = 0;
    std::uint32_t key_size = 0;
    ValueType type = ValueType::kUint8;
    ValueType element = ValueType::kUint8;  // of an array
    std::uint64_t count = 0;                // elements of an array
    std::size_t offset = 0;                 // of the value, or of an array's first element
  };

  Metadata() = default;
  /// Throws FormatError if two entries have the same key.
  Metadata(std::filesystem::path path, std::vector<std::byte> header, std::vector<Entry> entries);

  const std::filesystem::path& path() const { return path_; }
  std::size_t size() const { return entries_.size(); }
  bool has(std::string_view key) const { return find(key) != nullptr; }
  bool is_array(std::string_view key) const;

  /// Any integer type, if not negative.
  std::optional<std::uint64_t> find_uint(std::string_view key) const;
  /// Any number. A float32 becomes the double nearest to its shortest decimal form (1e-05, not
  /// 9.999999747378752e-06): what the converter's config.json said.
  std::optional<double> find_double(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  /// Checked to be UTF-8.
  std::optional<std::string_view> find_string(std::string_view key) const;
  /// Arrays of strings (not checked to be UTF-8), of integers (at most 64-bit signed), of numbers.
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  std::optional<std::vector<std::int64_t>> find_ints(std::string_view key) const;
  std::optional<std::vector<float>> find_floats(std::string_view key) const;

  /// The same, where the file cannot do without; throws FormatError naming the key.
  std::uint64_t at_uint(std::string_view key) const;
  double at_double(std::string_view key) const;
  std::string_view at_string(std::string_view key) const;

 private:
  const Entry* find(std::string_view key) const;
  std::string_view key_of(const Entry& entry) const;
  std::string_view string_at(std::size_t offset) const;
  [[noreturn]] void throw_kind(std::string_view key, const Entry& entry,
                               const char* expected) const;
  [[noreturn]] void throw_missing(std::string_view key) const;

  std::filesystem::path path_;
  std::vector<std::byte> header_;
  std::vector<Entry> entries_;  // sorted by key
};

}  // namespace shoehorn::gguf
