// What a Tokenizer holds; shared with the streaming decoder, not for others.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "shoehorn/tokenizer.h"

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/piece_cache.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"

namespace shoehorn {
namespace text {

/// What one encode call works with. Kept for the next call.
struct EncodeScratch {
  PieceCache cache;
  ModelScratch model;
  std::string byte_level;
};

/// Lends scratches: as many exist as calls have been running at the same time.
class ScratchPool {
 public:
  std::unique_ptr<EncodeScratch> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        auto scratch = std::move(free_.back());
        free_.pop_back();
        return scratch;
      }
    }
    return std::make_unique<EncodeScratch>();
  }
  void give_back(std::unique_ptr<EncodeScratch> scratch) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<EncodeScratch>> free_;
};

}  // namespace text

struct Tokenizer::Impl {
  /// Takes the vocabulary out of `file`.
  explicit Impl(text::TokenizerFile& file);

  /// The ids of a text before post-processing. `bytes` may be anything.
  std::vector<std::int32_t> encode_sequence(std::string_view bytes,
                                            const EncodeOptions& options) const;
  Encoding finish(std::vector<text::TypedIds> sequences, const EncodeOptions& options) const;
  /// The string that decoders get for an id; nothing if there is no such id.
  std::optional<std::string_view> decoded_token(std::int32_t id) const;

  std::vector<std::string> warnings;
  std::unique_ptr<const text::Normalizer> normalizer;  // may be null
  text::PreTokenizerChain pre_tokenizer;
  std::unique_ptr<const text::TokenModel> model;
  std::unique_ptr<const text::PostProcessor> post_processor;  // may be null
  std::vector<std::unique_ptr<const text::Decoder>> decoders;
  text::AddedTokens added_tokens;

 private:
  void encode_segment(text::NormalizedText segment, text::EncodeScratch& scratch,
                      std::vector<std::int32_t>& ids) const;
  void encode_piece(const text::Pieces& pieces, text::Pieces::Piece piece,
                    text::EncodeScratch& scratch, std::vector<std::int32_t>& ids) const;
  void run_model(std::string_view piece, text::EncodeScratch& scratch,
                 std::vector<std::int32_t>& ids) const;

  mutable text::ScratchPool scratch_pool_;  // locked inside
};

}  // namespace shoehorn
