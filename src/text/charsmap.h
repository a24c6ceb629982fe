// SentencePiece's precompiled character map: a double-array trie from byte strings to replacements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shoehorn::text {

/// Immutable, thread-safe.
class Charsmap {
 public:
  /// From the bytes of `precompiled_charsmap`: u32 size of the trie, its units, the replacements,
  /// each ended by NUL. Throws FormatError (without a file) for sizes that do not fit or
  /// replacements that are not UTF-8.
  explicit Charsmap(std::string_view bytes);

  /// The replacement of the shortest key that `text` starts with.
  std::optional<std::string_view> find(std::string_view text) const;

  /// Appends `text` with its characters replaced: clusters of fewer than six bytes as a whole if
  /// one of their prefixes is a key, everything else character by character.
  void append_mapped(std::string& out, std::string_view text) const;

 private:
  std::vector<std::uint32_t> units_;
  std::string texts_;
};

/// Decodes base64 (RFC 4648, with padding), or nothing if it is malformed.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace shoehorn::text
