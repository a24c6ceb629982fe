// SentencePiece models as tokenizers that merge or search pieces, by transformers' rules: classes
// of its own for Llama, CodeLlama, Gemma, T5 and XLM-RoBERTa, and for all others what the model's
// normalizer spec says, which gives SentencePiece's own ids.

#include <algorithm>
#include <tuple>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/slow_tokenizer_parts.h"
#include "text/utf8.h"

namespace shoehorn {
namespace {

using Json = nlohmann::ordered_json;
using sentencepiece::Model;
using sentencepiece::ModelType;
using sentencepiece::PieceType;
using Name = TokenizerClassName;

// SentencePiece's own limit is 16 characters unless told otherwise.
constexpr std::size_t kMaxMergedBytes = 512;
// Bytes that looking for merges may hash; a trained vocabulary of 262,144 pieces takes 40 million.
constexpr std::size_t kMaxMergeWork = std::size_t{1} << 32;

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += k <= count ? kDigits[group >> (18 - 6 * k) & 63] : '=';
    }
  }
  return out;
}

Json precompiled(std::string_view charsmap) {
  return {{"type", "Precompiled"}, {"precompiled_charsmap", base64(charsmap)}};
}

/// Python's re.escape.
std::string escape_regex(std::string_view text) {
  constexpr std::string_view kSpecial = "()[]{}?*+-|^$\\.&~# \t\n\r\v\f";
  std::string out;
  for (const char c : text) {
    if (kSpecial.find(c) != kSpecial.npos) out += '\\';
    out += c;
  }
  return out;
}

class MergeBudget {
 public:
  explicit MergeBudget(const std::filesystem::path& folder) : folder_(folder) {}
  void spend(std::size_t bytes) {
    if (bytes > left_) throw FormatError(folder_, "the pieces of tokenizer.model are too long");
    left_ -= bytes;
  }

 private:
  const std::filesystem::path& folder_;
  std::size_t left_ = kMaxMergeWork;
};

template <typename IsPart, typename Add>
void for_each_split(std::string_view token, MergeBudget& budget, const IsPart& is_part,
                    const Add& add) {
  if (token.size() > kMaxMergedBytes) return;
  budget.spend(token.size() * token.size());
  for (std::size_t cut = 1; cut < token.size(); ++cut) {
    if (text::is_continuation(token[cut])) continue;
    if (is_part(token.substr(0, cut)) && is_part(token.substr(cut))) {
      add(token.substr(0, cut), token.substr(cut));
    }
  }
}

/// Every split of every piece into two pieces, by the id of the whole: generate_merges.
void add_merges_by_id(const TokenizerSettings& settings, SlowVocabulary& vocabulary) {
  MergeBudget budget(settings.folder());
  for (const auto& [token, id] : vocabulary.entries()) {
    if (vocabulary.find(token) != id) continue;  // an equal one comes later
    for_each_split(
        token, budget, [&](std::string_view part) { return vocabulary.find(part).has_value(); },
        [&](std::string_view left, std::string_view right) {
          vocabulary.merges.emplace_back(left, right);
        });
  }
}

/// The same of normal pieces alone, by falling score, as SentencePiece merges.
void add_merges_by_score(const Model& model, const TokenizerSettings& settings,
                         SlowVocabulary& vocabulary) {
  const auto is_normal = [&](std::string_view part) {
    const auto id = vocabulary.find(part);
    return id && model.pieces[static_cast<std::size_t>(*id)].type == PieceType::kNormal;
  };
  MergeBudget budget(settings.folder());
  std::vector<std::tuple<float, std::int32_t, std::string_view, std::string_view>> ranked;
  for (const auto& [token, id] : vocabulary.entries()) {
    const sentencepiece::Piece& piece = model.pieces[static_cast<std::size_t>(id)];
    if (piece.type != PieceType::kNormal || vocabulary.find(token) != id) continue;
    const float rank = -piece.score;
    for_each_split(token, budget, is_normal, [&, id = id](auto left, auto right) {
      ranked.emplace_back(rank, id, left, right);
    });
  }
  std::ranges::sort(ranked);
  for (const auto& [rank, id, left, right] : ranked) vocabulary.merges.emplace_back(left, right);
}

Json bpe_model(const std::optional<std::string>& unk, bool byte_fallback, bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", unk ? Json(*unk) : Json()},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", byte_fallback},
          {"ignore_merges", ignore_merges}};
}

/// transformers hands the scores of the classes it knows to the model as they are, and those of all
/// others through the text of a tokenizer.json.
Json unigram_model(std::int32_t unk_id, bool byte_fallback, bool exact_scores) {
  Json model = {{"type", "Unigram"},
                {"unk_id", unk_id < 0 ? Json() : Json(unk_id)},
                {"byte_fallback", byte_fallback}};
  if (exact_scores) model["exact_scores"] = true;
  return model;
}

Json decoders(bool bytes, bool strip) {
  Json list = Json::array({replace_text(kSpacePiece, " ")});
  if (bytes) list.push_back({{"type", "ByteFallback"}});
  if (bytes || strip) list.push_back({{"type", "Fuse"}});
  if (strip) list.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence_of("decoders", std::move(list));
}

std::optional<std::string> text_of(const std::optional<ConfiguredToken>& token) {
  return token ? std::optional(token->content) : std::nullopt;
}

std::vector<std::string_view> texts_of(const Model& model) {
  std::vector<std::string_view> texts;
  texts.reserve(model.pieces.size());
  for (const sentencepiece::Piece& piece : model.pieces) texts.push_back(piece.text);
  return texts;
}

/// The pieces with scores, some of which are not the model's own.
class ScoredPieces {
 public:
  void add(std::string_view text, double score) {
    texts_.push_back(text);
    scores_.push_back(score);
  }
  void add_from(const Model& model, std::size_t first) {
    for (std::size_t id = first; id < model.pieces.size(); ++id) {
      add(model.pieces[id].text, static_cast<double>(model.pieces[id].score));
    }
  }
  SlowVocabulary vocabulary() && {
    SlowVocabulary out = SlowVocabulary::from_list(std::move(texts_));
    out.scores = std::move(scores_);
    return out;
  }

 private:
  std::vector<std::string_view> texts_;
  std::vector<double> scores_;
};

void convert_llama(const Model& model, const TokenizerSettings& settings, bool code,
                   SlowTokenizer& out) {
  const bool prefix = settings.bool_or("add_prefix_space", true);
  const bool legacy = !code && settings.bool_or("legacy", false);
  out.vocabulary = SlowVocabulary::from_list(texts_of(model));
  add_merges_by_id(settings, out.vocabulary);
  out.pre_tokenizer = metaspace(!prefix ? "never" : legacy ? "always" : "first", false);
  out.decoder = decoders(true, code || prefix);
  out.model = bpe_model(code ? text_of(out.unk()) : std::nullopt, true, false);
}

void convert_gemma(const Model& model, const TokenizerSettings& settings, SlowTokenizer& out) {
  out.vocabulary = SlowVocabulary::from_list(texts_of(model));
  add_merges_by_id(settings, out.vocabulary);
  out.normalizer = replace_text(" ", kSpacePiece);
  // Finds no space where the normalizer has been; transformers has it, so do we.
  out.pre_tokenizer = {{"type", "Split"},
                       {"pattern", {{"String", " "}}},
                       {"behavior", "MergedWithPrevious"},
                       {"invert", false}};
  out.decoder = decoders(true, false);
  out.model = bpe_model(text_of(out.unk()), true, false);
}

Json word_metaspace(std::string_view prepend_scheme) {
  return sequence_of("pretokenizers", Json::array({Json{{"type", "WhitespaceSplit"}},
                                                   metaspace(prepend_scheme, true)}));
}

void convert_t5(const Model& model, const TokenizerSettings& settings, SlowTokenizer& out) {
  const std::int64_t extra_ids = settings.integer_or("extra_ids", 100);
  if (extra_ids < 0 || extra_ids > 100'000) {
    throw FormatError(settings.folder(), str_cat("extra_ids is ", extra_ids));
  }
  out.owned.reserve(static_cast<std::size_t>(extra_ids));
  for (std::int64_t i = extra_ids - 1; i >= 0; --i) {
    out.owned.push_back(str_cat("<extra_id_", i, ">"));
  }
  ScoredPieces pieces;
  pieces.add_from(model, 0);
  for (const std::string& token : out.owned) {
    pieces.add(token, 0);
    out.extra.push_back(special_token(token));
  }
  out.vocabulary = std::move(pieces).vocabulary();
  if (!model.precompiled_charsmap.empty()) out.normalizer = precompiled(model.precompiled_charsmap);
  out.pre_tokenizer = word_metaspace("always");
  out.decoder = metaspace("always", true);
  out.model = unigram_model(2, false, true);
}

void convert_xlm_roberta(const Model& model, const TokenizerSettings& settings,
                         SlowTokenizer& out) {
  // fairseq's order of the first four, whatever the model's is.
  const auto name = [&](std::size_t i, const char* otherwise) {
    out.owned.push_back(out.named[i] ? out.named[i]->content : otherwise);
  };
  out.owned.reserve(5);
  name(0, "<s>");
  name(4, "<pad>");
  name(1, "</s>");
  name(2, "<unk>");
  name(6, "<mask>");
  ScoredPieces pieces;
  for (std::size_t i = 0; i < 4; ++i) pieces.add(out.owned[i], 0);
  pieces.add_from(model, 3);
  pieces.add(out.owned[4], 0);
  out.vocabulary = std::move(pieces).vocabulary();
  if (!model.precompiled_charsmap.empty()) out.normalizer = precompiled(model.precompiled_charsmap);
  const std::string_view scheme = settings.bool_or("add_prefix_space", true) ? "always" : "never";
  out.pre_tokenizer = word_metaspace(scheme);
  out.decoder = metaspace(scheme, true);
  out.model = unigram_model(3, false, true);
}

/// Names that the settings give to pieces: placeholders of the model that became tokens.
std::vector<std::string_view> renamed_texts(const Model& model, const TokenizerSettings& settings) {
  std::vector<std::string_view> texts = texts_of(model);
  const auto& added = settings.added();
  if (added.empty()) return texts;
  std::vector<bool> has_name(texts.size());
  for (const auto& [id, token] : added) {
    if (id < static_cast<std::int64_t>(texts.size())) has_name[static_cast<std::size_t>(id)] = true;
  }
  std::vector<std::string_view> kept;
  for (std::size_t id = 0; id < texts.size(); ++id) {
    if (!has_name[id]) kept.push_back(texts[id]);
  }
  std::ranges::sort(kept);
  for (const auto& [id, token] : added) {
    if (id >= static_cast<std::int64_t>(texts.size())) continue;
    if (std::ranges::binary_search(kept, token.content)) continue;
    texts[static_cast<std::size_t>(id)] = token.content;
  }
  return texts;
}

Json generic_normalizer(const Model& model, bool legacy) {
  Json list = Json::array();
  if (!model.precompiled_charsmap.empty()) list.push_back(precompiled(model.precompiled_charsmap));
  if (model.remove_extra_whitespaces) {
    list.push_back(replace_regex(R"(\A +| +\z)", ""));
    list.push_back(replace_regex(" {2,}", " "));
  }
  if (model.escape_whitespaces) list.push_back(replace_text(" ", kSpacePiece));
  if (model.add_dummy_prefix && legacy) {
    // Metaspace puts no prefix where there is one; SentencePiece does.
    list.push_back(replace_regex(str_cat("\\A", kSpacePiece), str_cat(kSpacePiece, kSpacePiece)));
  }
  return sequence_of("normalizers", std::move(list));
}

/// SentencePiece gives user-defined pieces whole, the longest that fits, and merges nothing into
/// them.
Json isolate(std::vector<std::string_view> user_defined) {
  std::ranges::stable_sort(user_defined, std::greater<>(), text::count_characters);
  std::string pattern;
  for (const std::string_view piece : user_defined) {
    if (!pattern.empty()) pattern += '|';
    pattern += escape_regex(piece);
  }
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

void convert_generic(const Model& model, const TokenizerSettings& settings, SlowTokenizer& out) {
  const bool legacy = settings.bool_or("legacy", true);
  const bool bpe = model.type == ModelType::kBpe;
  std::vector<std::string_view> texts = bpe ? renamed_texts(model, settings) : texts_of(model);
  std::vector<std::string_view> user_defined;
  for (std::size_t id = 0; id < texts.size(); ++id) {
    if (model.pieces[id].type == PieceType::kUserDefined) user_defined.push_back(texts[id]);
  }
  if (bpe) {
    out.vocabulary = SlowVocabulary::from_list(std::move(texts));
    add_merges_by_score(model, settings, out.vocabulary);
    out.model = bpe_model(std::string(model.unk_piece), model.byte_fallback, !user_defined.empty());
  } else {
    ScoredPieces pieces;
    pieces.add_from(model, 0);
    out.vocabulary = std::move(pieces).vocabulary();
    out.model = unigram_model(model.unk_id, model.byte_fallback, false);
  }
  out.normalizer = generic_normalizer(model, legacy);
  Json parts = Json::array();
  if (model.add_dummy_prefix) parts.push_back(metaspace(legacy ? "always" : "first", false));
  if (!user_defined.empty()) parts.push_back(isolate(std::move(user_defined)));
  if (!parts.empty()) out.pre_tokenizer = sequence_of("pretokenizers", std::move(parts));
  out.decoder = decoders(model.byte_fallback, model.add_dummy_prefix);
  // The settings do not know these names; the model does.
  const auto set_name = [&](std::size_t i, std::int32_t id, std::string_view piece) {
    if (id < 0) return;
    out.named[i] = settings.named(TokenizerSettings::kNames[i], std::string(piece));
  };
  set_name(0, model.bos_id, model.bos_piece);
  set_name(1, model.eos_id, model.eos_piece);
  set_name(2, model.unk_id, model.unk_piece);
}

}  // namespace

void convert_sentencepiece(const Model& model, const TokenizerSettings& settings,
                           const TokenizerClass& tokenizer_class, SlowTokenizer& out) {
  if (model.type != ModelType::kBpe && model.type != ModelType::kUnigram) {
    throw UnsupportedError(
        str_cat(settings.folder().string(),
                ": the SentencePiece model is of words or characters; BPE and Unigram are known"));
  }
  if (model.treat_whitespace_as_suffix) {
    throw UnsupportedError(str_cat(
        settings.folder().string(),
        ": the SentencePiece model puts spaces at the end of words, which is not supported"));
  }
  const bool generic = tokenizer_class.name == Name::kGeneric;
  for (const sentencepiece::Piece& piece : model.pieces) {
    const bool control = piece.type == PieceType::kControl;
    if (!control && (generic || piece.type != PieceType::kUserDefined)) continue;
    out.extra.push_back(
        {.content = std::string(piece.text), .special = control, .normalized = false});
  }
  switch (tokenizer_class.name) {
    case Name::kLlama: return convert_llama(model, settings, false, out);
    case Name::kCodeLlama: return convert_llama(model, settings, true, out);
    case Name::kGemma: return convert_gemma(model, settings, out);
    case Name::kT5: return convert_t5(model, settings, out);
    case Name::kXlmRoberta: return convert_xlm_roberta(model, settings, out);
    default: return convert_generic(model, settings, out);
  }
}

}  // namespace shoehorn
