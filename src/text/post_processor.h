// The post-processors of tokenizer.json: they put special tokens around one or two sequences and
// number the sequences.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "text/json_value.h"

namespace shoehorn::text {

/// Ids with the type of each.
struct TypedIds {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> type_ids;
};

/// Immutable, thread-safe.
class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  /// Takes one or two sequences, gives any number. The result of encoding is all of them joined.
  virtual std::vector<TypedIds> apply(std::vector<TypedIds> sequences,
                                      bool add_special_tokens) const = 0;
};

/// Nothing for null. Throws FormatError, and UnsupportedError for a type that is not known.
std::unique_ptr<const PostProcessor> make_post_processor(const JsonValue& config);

}  // namespace shoehorn::text
