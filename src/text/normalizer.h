// The normalizers of tokenizer.json: each rewrites a segment of text before it is cut into pieces.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "text/json_value.h"

namespace shoehorn::text {

struct NormalizedText {
  std::string text;
  /// Bytes at the front that come from the first character of the whole input; 0 if the segment
  /// does not start there. The Metaspace scheme "first" asks for it.
  std::size_t origin_end = 0;
  /// What a hostile chain of replacements may make of it, at most.
  std::size_t max_bytes = 1U << 30;
};

/// Immutable, thread-safe.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(NormalizedText& text) const = 0;
};

/// Nothing for null. Throws FormatError, and UnsupportedError for a type that is not known.
std::unique_ptr<const Normalizer> make_normalizer(const JsonValue& config);

}  // namespace shoehorn::text
