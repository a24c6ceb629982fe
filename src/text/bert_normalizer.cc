// As in Google's BERT, with the character tables that the tokenizers library has for it.
#include "text/bert_normalizer.h"

#include "text/normal_forms.h"
#include "text/unicode_data.h"

namespace shoehorn::text {
namespace {

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B81F) ||
         (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

class BertNormalizer : public Normalizer {
 public:
  explicit BertNormalizer(const JsonValue& config)
      : clean_text_(config.bool_or("clean_text", true)),
        chinese_(config.bool_or("handle_chinese_chars", true)),
        lowercase_(config.bool_or("lowercase", true)),
        strip_accents_(config.bool_or("strip_accents", lowercase_)) {}

  void apply(NormalizedText& text) const override {
    if (clean_text_) {
      map_characters(text, [this](std::string& out, char32_t c) {
        if (is_white(c) && !removed_.contains(c)) {
          out.push_back(' ');
        } else if (c != 0 && c != kReplacementCharacter && !removed_.contains(c)) {
          append_utf8(out, c);
        }
      });
    }
    if (chinese_) {
      map_characters(text, [](std::string& out, char32_t c) {
        if (is_chinese(c)) out.push_back(' ');
        append_utf8(out, c);
        if (is_chinese(c)) out.push_back(' ');
      });
    }
    if (strip_accents_) {
      std::string decomposed;
      append_normalized(decomposed, text.text, NormalForm::kNfd);
      text.text = std::move(decomposed);
      map_characters(text, [this](std::string& out, char32_t c) {
        if (!accents_.contains(c)) append_utf8(out, c);
      });
    }
    if (lowercase_) map_characters(text, append_lower);
  }

 private:
  bool clean_text_;
  bool chinese_;
  bool lowercase_;
  bool strip_accents_;
  CodePointBitmap removed_{unicode::kBertRemoved};
  CodePointBitmap accents_{unicode::kBertAccents};
};

}  // namespace

std::unique_ptr<const Normalizer> make_bert_normalizer(const JsonValue& config) {
  return std::make_unique<BertNormalizer>(config);
}

}  // namespace shoehorn::text
