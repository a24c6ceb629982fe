// Building blocks that decoders share, and the decoders that live in files of their own.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/decoder.h"
#include "text/json_value.h"

namespace shoehorn::text {

/// A stage that hands its strings to another one.
class LinkedStage : public DecoderStage {
 public:
  explicit LinkedStage(DecoderStage& next) : next_(next) {}

 protected:
  DecoderStage& next() { return next_; }

 private:
  DecoderStage& next_;
};

/// A stage that has to see each string as a whole.
class ItemStage : public LinkedStage {
 public:
  using LinkedStage::LinkedStage;
  void chunk(std::string_view text) final { item_.append(text); }
  void end_item() final {
    const std::string item = std::move(item_);
    item_.clear();
    on_item(item);
  }
  void finish() final {
    on_finish();
    next().finish();
  }

 protected:
  virtual void on_item(const std::string& item) = 0;
  virtual void on_finish() {}

 private:
  std::string item_;
};

/// A decoder whose stages are of type Stage, made from its configuration.
template <typename Stage, typename Config>
class ConfiguredDecoder : public Decoder {
 public:
  explicit ConfiguredDecoder(Config config) : config_(std::move(config)) {}
  std::unique_ptr<DecoderStage> make_stage(DecoderStage& next) const override {
    return std::make_unique<Stage>(next, config_);
  }

 private:
  Config config_;
};

/// Replaces every occurrence of `from`; an empty one occurs around each character.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

/// WordPiece, BPEDecoder, Metaspace, CTC.
std::unique_ptr<const Decoder> make_word_piece_decoder(const JsonValue& config);
std::unique_ptr<const Decoder> make_bpe_decoder(const JsonValue& config);
std::unique_ptr<const Decoder> make_metaspace_decoder(const JsonValue& config);
std::unique_ptr<const Decoder> make_ctc_decoder(const JsonValue& config);

/// ByteLevel, ByteFallback.
std::unique_ptr<const Decoder> make_byte_level_decoder();
std::unique_ptr<const Decoder> make_byte_fallback_decoder();

}  // namespace shoehorn::text
