// BERT's normalizer, and the loop over characters that it shares with simpler ones.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "text/normalizer.h"
#include "text/utf8.h"

namespace shoehorn::text {

/// Rewrites `text` with map(out, character), which appends what becomes of each character.
template <typename Map>
void map_characters(NormalizedText& text, const Map& map) {
  std::string out;
  out.reserve(text.text.size());
  std::size_t origin_end = 0;
  for (std::size_t i = 0, length = 0; i < text.text.size(); i += length) {
    map(out, decode_utf8(text.text.data() + i, length));
    if (i < text.origin_end) origin_end = out.size();
  }
  text.text = std::move(out);
  text.origin_end = origin_end;
}

/// clean_text, handle_chinese_chars, strip_accents, lowercase, in this order.
std::unique_ptr<const Normalizer> make_bert_normalizer(const JsonValue& config);

}  // namespace shoehorn::text
