// The pre-tokenizers of tokenizer.json: they cut a segment into the pieces that the model sees one
// by one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/json_value.h"

namespace shoehorn::text {

/// A segment and its pieces, in order. Pieces are not empty.
struct Pieces {
  struct Piece {
    std::uint32_t begin;
    std::uint32_t end;
  };

  std::string text;
  std::vector<Piece> pieces;
  /// Bytes of `text` at the front that come from the first character of the whole input.
  std::size_t origin_end = 0;

  std::string_view view(const Piece& piece) const {
    return std::string_view{text}.substr(piece.begin, piece.end - piece.begin);
  }
};

/// Immutable, thread-safe.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Replaces the pieces by finer ones, and perhaps the text.
  virtual void apply(Pieces& pieces) const = 0;
};

/// A chain of pre-tokenizers. A last step that only writes bytes as their printable stand-ins is
/// left to the caller: what the model has seen before is then found without it.
struct PreTokenizerChain {
  std::vector<std::unique_ptr<const PreTokenizer>> steps;
  /// Each piece still has to be rewritten by append_byte_level.
  bool ends_in_byte_level = false;
};

/// An empty chain for null. Throws FormatError, and UnsupportedError for a type that is not known.
PreTokenizerChain make_pre_tokenizer(const JsonValue& config);

}  // namespace shoehorn::text
