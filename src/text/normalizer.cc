// All normalizers but BERT's.
#include "text/normalizer.h"

#include <utility>
#include <vector>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/bert_normalizer.h"
#include "text/byte_level.h"
#include "text/charsmap.h"
#include "text/normal_forms.h"
#include "text/pattern.h"
#include "text/unicode_data.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr int kMaxNesting = 32;
constexpr std::size_t kMaxContent = 1000;  // bytes of one replacement

void check_growth(std::size_t bytes, const NormalizedText& text) {
  if (bytes > text.max_bytes) {
    throw FormatError(str_cat("normalizer: makes ", bytes, " bytes or more of a text, at most ",
                              text.max_bytes, " are supported"));
  }
}

class SequenceNormalizer : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<const Normalizer>> parts)
      : parts_(std::move(parts)) {}
  void apply(NormalizedText& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> parts_;
};

class FormNormalizer : public Normalizer {
 public:
  explicit FormNormalizer(NormalForm form) : form_(form) {}
  void apply(NormalizedText& text) const override {
    std::string out;
    append_normalized(out, text.text, form_);
    if (text.origin_end > 0 && !out.empty()) text.origin_end = sequence_length(out[0]);
    text.text = std::move(out);
  }

 private:
  NormalForm form_;
};

// Rewrites each character by itself; Map appends what becomes of it.
template <typename Map>
class CharacterNormalizer : public Normalizer {
 public:
  explicit CharacterNormalizer(Map map) : map_(std::move(map)) {}
  void apply(NormalizedText& text) const override { map_characters(text, map_); }

 private:
  Map map_;
};

template <typename Map>
std::unique_ptr<const Normalizer> by_character(Map map) {
  return std::make_unique<CharacterNormalizer<Map>>(std::move(map));
}

class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalizedText& text) const override {
    const std::string_view all = text.text;
    std::size_t begin = 0;
    std::size_t length;
    while (left_ && begin < all.size() && is_white(decode_utf8(all.data() + begin, length))) {
      begin += length;
    }
    std::size_t end = all.size();
    while (right_ && end > begin) {
      const std::size_t last = previous_character(all, end);
      if (!is_white(decode_utf8(all.data() + last, length))) break;
      end = last;
    }
    text.text = std::string(all.substr(begin, end - begin));
    text.origin_end -= std::min(text.origin_end, begin);
  }

 private:
  bool left_;
  bool right_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  explicit ReplaceNormalizer(const JsonValue& config)
      : pattern_(config.at("pattern")), content_(config.at("content").as_string()) {
    if (content_.size() > kMaxContent) {
      config.fail(str_cat("a replacement of ", content_.size(), " bytes; at most ", kMaxContent,
                          " are supported"));
    }
  }
  void apply(NormalizedText& text) const override {
    const std::string_view all = text.text;
    if (all.empty()) return;
    std::string out;
    out.reserve(all.size());
    std::size_t done = 0;
    std::size_t origin_end = 0;
    const auto copy = [&](std::size_t end) {
      if (text.origin_end > done) origin_end = out.size() + std::min(text.origin_end, end) - done;
      out.append(all.substr(done, end - done));
    };
    PatternFinder(pattern_).for_each_match(all, [&](std::size_t begin, std::size_t end) {
      copy(begin);
      out.append(content_);
      check_growth(out.size(), text);
      // The content belongs to the last character that it replaces.
      if (text.origin_end > 0 && end <= text.origin_end) origin_end = out.size();
      done = end;
    });
    if (done == 0 && out.empty()) return;
    copy(all.size());
    text.text = std::move(out);
    text.origin_end = origin_end;
  }

 private:
  Pattern pattern_;
  std::string content_;
};

class PrependNormalizer : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(NormalizedText& text) const override {
    if (text.text.empty()) return;
    check_growth(text.text.size() + prefix_.size(), text);
    text.text.insert(0, prefix_);
    if (text.origin_end > 0) text.origin_end += prefix_.size();
  }

 private:
  std::string prefix_;
};

class CharsmapNormalizer : public Normalizer {
 public:
  explicit CharsmapNormalizer(Charsmap map) : map_(std::move(map)) {}
  void apply(NormalizedText& text) const override {
    std::string out;
    out.reserve(text.text.size());
    map_.append_mapped(out, text.text);
    if (text.origin_end > 0 && !out.empty()) text.origin_end = sequence_length(out[0]);
    text.text = std::move(out);
  }

 private:
  Charsmap map_;
};

// SentencePiece's nmt rules: some controls vanish, some characters become a space.
void append_nmt(std::string& out, char32_t c) {
  const bool removed = (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) ||
                       c == 0x7F || c == 0x8F || c == 0x9F;
  if (removed) return;
  const bool space = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                     (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xFEFF || c == kReplacementCharacter;
  append_utf8(out, space ? U' ' : c);
}

std::unique_ptr<const Normalizer> make_charsmap(const JsonValue& config) {
  const JsonValue& encoded = config.at("precompiled_charsmap");
  const auto bytes = decode_base64(encoded.as_string());
  if (!bytes) encoded.fail("not base64");
  try {
    return std::make_unique<CharsmapNormalizer>(Charsmap(*bytes));
  } catch (const FormatError& error) {
    encoded.fail(error.what());
  }
}

std::unique_ptr<const Normalizer> make(const JsonValue& config, int depth);

std::unique_ptr<const Normalizer> make_sequence(const JsonValue& config, int depth) {
  if (depth > kMaxNesting) config.fail("sequences are nested too deeply");
  std::vector<std::unique_ptr<const Normalizer>> parts;
  for (const JsonValue& item : config.at("normalizers").items()) {
    parts.push_back(make(item, depth + 1));
  }
  return std::make_unique<SequenceNormalizer>(std::move(parts));
}

std::unique_ptr<const Normalizer> make(const JsonValue& config, int depth) {
  const std::string& type = config.at("type").as_string();
  if (type == "Sequence") return make_sequence(config, depth);
  if (type == "NFC") return std::make_unique<FormNormalizer>(NormalForm::kNfc);
  if (type == "NFD") return std::make_unique<FormNormalizer>(NormalForm::kNfd);
  if (type == "NFKC") return std::make_unique<FormNormalizer>(NormalForm::kNfkc);
  if (type == "NFKD") return std::make_unique<FormNormalizer>(NormalForm::kNfkd);
  if (type == "Lowercase") return by_character(append_lower);
  if (type == "Strip") {
    return std::make_unique<StripNormalizer>(config.bool_or("strip_left", true),
                                             config.bool_or("strip_right", true));
  }
  if (type == "StripAccents") {
    return by_character([marks = CodePointBitmap(unicode::kMarks)](std::string& out, char32_t c) {
      if (!marks.contains(c)) append_utf8(out, c);
    });
  }
  if (type == "Replace") return std::make_unique<ReplaceNormalizer>(config);
  if (type == "Prepend") {
    return std::make_unique<PrependNormalizer>(config.at("prepend").as_string());
  }
  if (type == "Nmt") return by_character(append_nmt);
  if (type == "ByteLevel") {
    return by_character([](std::string& out, char32_t c) {
      std::string bytes;
      append_utf8(bytes, c);
      append_byte_level(out, bytes);
    });
  }
  if (type == "BertNormalizer") return make_bert_normalizer(config);
  if (type == "Precompiled") return make_charsmap(config);
  config.unsupported(str_cat("unknown normalizer \"", type, "\""));
}

}  // namespace

std::unique_ptr<const Normalizer> make_normalizer(const JsonValue& config) {
  if (config.is_null()) return nullptr;
  return make(config, 0);
}

}  // namespace shoehorn::text
