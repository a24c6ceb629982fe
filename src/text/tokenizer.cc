// The order of things: added tokens, normalizer, pre-tokenizer, model, post-processor.
#include "shoehorn/tokenizer.h"

#include <utility>

#include "shoehorn/detokenizer.h"
#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/byte_level.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

namespace shoehorn {

namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;  // pieces have 32-bit offsets
constexpr std::size_t kMaxNormalizedBytes = std::size_t{3} << 29;
constexpr std::size_t kMaxGrowth = 1000;

using text::AddedTokens;
using text::NormalizedText;
using text::Pieces;
using text::TypedIds;

// Part of a normalized text as a text of its own.
NormalizedText slice(const NormalizedText& text, std::size_t begin, std::size_t end) {
  NormalizedText part;
  part.text = text.text.substr(begin, end - begin);
  part.origin_end = text.origin_end > begin ? std::min(text.origin_end, end) - begin : 0;
  return part;
}

}  // namespace

Tokenizer::Impl::Impl(text::TokenizerFile& file)
    : normalizer(text::make_normalizer(file.normalizer)),
      pre_tokenizer(text::make_pre_tokenizer(file.pre_tokenizer)),
      model(text::make_token_model(file)),
      post_processor(text::make_post_processor(file.post_processor)),
      decoders(text::make_decoders(file.decoder)),
      added_tokens(file.added_tokens, model->vocabulary(), normalizer.get(), warnings) {}

std::vector<std::int32_t> Tokenizer::Impl::encode_sequence(std::string_view bytes,
                                                           const EncodeOptions& options) const {
  if (bytes.size() > kMaxTextBytes) {
    throw ArgumentError(str_cat("a text of ", bytes.size(), " bytes; at most ", kMaxTextBytes,
                                " can be encoded at once"));
  }
  std::string repaired;
  if (!text::is_valid_utf8(bytes)) {
    repaired = text::utf8_lossy(bytes);
    bytes = repaired;
  }
  std::vector<std::int32_t> ids;
  std::vector<AddedTokens::Span> spans;
  std::vector<AddedTokens::Span> inner_spans;
  added_tokens.split(bytes, false, options.match_special_tokens, spans);
  auto scratch = scratch_pool_.take();
  for (const AddedTokens::Span& span : spans) {
    if (span.id >= 0) {
      ids.push_back(span.id);
      continue;
    }
    NormalizedText segment;
    segment.text = bytes.substr(span.begin, span.end - span.begin);
    if (span.begin == 0) segment.origin_end = text::sequence_length(segment.text[0]);
    segment.max_bytes =
        std::min(kMaxNormalizedBytes, kMaxGrowth * segment.text.size() + kMaxGrowth);
    if (normalizer) normalizer->apply(segment);
    inner_spans.clear();
    added_tokens.split(segment.text, true, options.match_special_tokens, inner_spans);
    for (const AddedTokens::Span& inner : inner_spans) {
      if (inner.id >= 0) {
        ids.push_back(inner.id);
      } else if (inner_spans.size() == 1) {
        encode_segment(std::move(segment), *scratch, ids);
        break;
      } else {
        encode_segment(slice(segment, inner.begin, inner.end), *scratch, ids);
      }
    }
  }
  scratch_pool_.give_back(std::move(scratch));
  return ids;
}

void Tokenizer::Impl::encode_segment(NormalizedText segment, text::EncodeScratch& scratch,
                                     std::vector<std::int32_t>& ids) const {
  Pieces pieces;
  pieces.text = std::move(segment.text);
  pieces.origin_end = segment.origin_end;
  pieces.pieces.push_back({0, static_cast<std::uint32_t>(pieces.text.size())});
  for (const auto& step : pre_tokenizer.steps) step->apply(pieces);
  for (const Pieces::Piece& piece : pieces.pieces) encode_piece(pieces, piece, scratch, ids);
}

void Tokenizer::Impl::encode_piece(const Pieces& pieces, Pieces::Piece piece,
                                   text::EncodeScratch& scratch,
                                   std::vector<std::int32_t>& ids) const {
  using text::PieceCache;
  while (piece.begin < piece.end) {
    Pieces::Piece part = piece;
    if (!pre_tokenizer.ends_in_byte_level) {
      part.end =
          part.begin + static_cast<std::uint32_t>(model->independent_prefix(pieces.view(piece)));
    }
    piece.begin = part.end;
    if (part.end - part.begin > PieceCache::kMaxBytes) {
      run_model(pieces.view(part), scratch, ids);
      continue;
    }
    const PieceCache::Key key = PieceCache::key(pieces.text, part.begin, part.end);
    if (scratch.cache.find(key, ids)) continue;
    const std::size_t before = ids.size();
    run_model(pieces.view(part), scratch, ids);
    scratch.cache.insert(key, ids.data() + before, ids.size() - before);
  }
}

void Tokenizer::Impl::run_model(std::string_view piece, text::EncodeScratch& scratch,
                                std::vector<std::int32_t>& ids) const {
  if (pre_tokenizer.ends_in_byte_level) {
    scratch.byte_level.clear();
    text::append_byte_level(scratch.byte_level, piece);
    piece = scratch.byte_level;
  }
  model->tokenize(piece, scratch.model, ids);
}

Encoding Tokenizer::Impl::finish(std::vector<TypedIds> sequences,
                                 const EncodeOptions& options) const {
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    sequences[i].type_ids.assign(sequences[i].ids.size(), static_cast<std::int32_t>(i));
  }
  if (post_processor) {
    sequences = post_processor->apply(std::move(sequences), options.add_special_tokens);
  }
  Encoding encoding;
  for (TypedIds& part : sequences) {
    if (encoding.ids.empty()) {
      encoding.ids = std::move(part.ids);
      encoding.type_ids = std::move(part.type_ids);
      continue;
    }
    encoding.ids.insert(encoding.ids.end(), part.ids.begin(), part.ids.end());
    encoding.type_ids.insert(encoding.type_ids.end(), part.type_ids.begin(), part.type_ids.end());
  }
  return encoding;
}

std::optional<std::string_view> Tokenizer::Impl::decoded_token(std::int32_t id) const {
  if (const std::string* added = added_tokens.decoded(id)) return *added;
  return model->vocabulary().token(id);
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::filesystem::path& path) {
  try {
    text::TokenizerFile file(json);
    return Tokenizer(std::make_unique<const Impl>(file));
  } catch (const FormatError& error) {
    throw FormatError(path, error.what());
  } catch (const UnsupportedError& error) {
    throw UnsupportedError(str_cat(path.string(), ": ", error.what()));
  }
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&& other) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&& other) noexcept = default;

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TypedIds> sequences(1);
  sequences[0].ids = impl_->encode_sequence(text, options);
  return impl_->finish(std::move(sequences), options);
}

Encoding Tokenizer::encode_pair(std::string_view a, std::string_view b,
                                const EncodeOptions& options) const {
  std::vector<TypedIds> sequences(2);
  sequences[0].ids = impl_->encode_sequence(a, options);
  sequences[1].ids = impl_->encode_sequence(b, options);
  return impl_->finish(std::move(sequences), options);
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  DetokenizerStream stream(*this, skip_special_tokens);
  std::string text;
  for (const std::int32_t id : ids) text += stream.push(id);
  return text += stream.flush();
}

std::size_t Tokenizer::vocab_size() const {
  return impl_->model->vocabulary().size() + impl_->added_tokens.new_tokens();
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  if (const auto id = impl_->added_tokens.find(token)) return id;
  return impl_->model->vocabulary().find(token);
}

std::optional<std::string_view> Tokenizer::id_to_token(std::int32_t id) const {
  if (const std::string* content = impl_->added_tokens.content(id)) return *content;
  return impl_->model->vocabulary().token(id);
}

bool Tokenizer::is_special(std::int32_t id) const {
  return impl_->added_tokens.is_special(id);
}

const std::vector<std::string>& Tokenizer::warnings() const {
  return impl_->warnings;
}

}  // namespace shoehorn
