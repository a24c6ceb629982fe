// The decoders of tokenizer.json as streams: tokens go in one by one, and each stage hands on at
// once whatever no later token can change. Decoding a whole list is the same stream run to its end.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/json_value.h"

namespace shoehorn::text {

/// The state of one decoder in one stream. It receives a list of strings, each as chunks of valid
/// UTF-8 followed by end_item(), and finish() after the last.
class DecoderStage {
 public:
  virtual ~DecoderStage() = default;
  virtual void chunk(std::string_view text) = 0;
  virtual void end_item() = 0;
  virtual void finish() = 0;

  void item(std::string_view text) {
    chunk(text);
    end_item();
  }
};

/// What the file says; immutable, thread-safe.
class Decoder {
 public:
  virtual ~Decoder() = default;
  /// A fresh state that hands its strings to `next`, which has to live longer.
  virtual std::unique_ptr<DecoderStage> make_stage(DecoderStage& next) const = 0;
};

/// The chain of decoders, first to last. For null: tokens joined by one space. Throws FormatError,
/// and UnsupportedError for a type that is not known.
std::vector<std::unique_ptr<const Decoder>> make_decoders(const JsonValue& config);

}  // namespace shoehorn::text
