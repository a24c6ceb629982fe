// Classes whose vocabulary is plain files: byte-level BPE and WordPiece.

#include "checkpoint/slow_tokenizer_parts.h"

namespace shoehorn {
namespace {

using Json = nlohmann::ordered_json;
using Name = TokenizerClassName;

// Qwen 2 and 3; Qwen 3.5 counts marks as letters.
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen35Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)"
    R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json split(std::string_view pattern, std::string_view behavior, bool invert) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", behavior},
          {"invert", invert}};
}

Json in_order(Json first, Json second) {
  return sequence_of("pretokenizers", Json::array({std::move(first), std::move(second)}));
}

}  // namespace

void convert_byte_level(const TokenizerSettings& settings, const TokenizerClass& tokenizer_class,
                        SlowTokenizer& out) {
  const bool prefix = settings.bool_or("add_prefix_space", false);
  out.model = {{"type", "BPE"},
               {"dropout", nullptr},
               {"unk_token", nullptr},
               {"continuing_subword_prefix", ""},
               {"end_of_word_suffix", ""},
               {"fuse_unk", false},
               {"byte_fallback", false},
               {"ignore_merges", false}};
  out.decoder = byte_level(true, true);
  switch (tokenizer_class.name) {
    case Name::kQwen2:
    case Name::kQwen35: {
      const bool marks = tokenizer_class.name == Name::kQwen35;
      out.normalizer = {{"type", "NFC"}};
      out.pre_tokenizer = in_order(split(marks ? kQwen35Pattern : kQwen2Pattern, "Isolated", false),
                                   byte_level(prefix, false));
      return;
    }
    case Name::kGptNeoX:
      out.normalizer = {{"type", "NFC"}};
      out.pre_tokenizer = byte_level(prefix, true);
      return;
    case Name::kCohere:
      out.normalizer = {{"type", "NFC"}};
      out.pre_tokenizer =
          in_order({{"type", "Digits"}, {"individual_digits", true}}, byte_level(prefix, true));
      return;
    default: out.pre_tokenizer = byte_level(prefix, true);
  }
}

void convert_word_piece(const TokenizerSettings& settings, SlowTokenizer& out) {
  const std::optional<bool> strip_accents = settings.find_bool("strip_accents");
  out.normalizer = {{"type", "BertNormalizer"},
                    {"clean_text", true},
                    {"handle_chinese_chars", settings.bool_or("tokenize_chinese_chars", true)},
                    {"strip_accents", strip_accents ? Json(*strip_accents) : Json()},
                    {"lowercase", settings.bool_or("do_lower_case", true)}};
  out.pre_tokenizer = {{"type", "BertPreTokenizer"}};
  out.decoder = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  out.model = {{"type", "WordPiece"},
               {"unk_token", out.unk() ? Json(out.unk()->content) : Json("[UNK]")},
               {"continuing_subword_prefix", "##"},
               {"max_input_chars_per_word", 100}};
}

}  // namespace shoehorn
