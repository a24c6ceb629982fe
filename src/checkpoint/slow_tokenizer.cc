#include "checkpoint/slow_tokenizer.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/json_text.h"
#include "checkpoint/slow_tokenizer_parts.h"

namespace shoehorn {

using Json = nlohmann::ordered_json;
using Name = TokenizerClassName;
namespace fs = std::filesystem;

Json replace_text(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json replace_regex(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"Regex", from}}}, {"content", to}};
}

Json metaspace(std::string_view prepend_scheme, bool split) {
  return {{"type", "Metaspace"},
          {"replacement", kSpacePiece},
          {"prepend_scheme", prepend_scheme},
          {"split", split}};
}

namespace {

constexpr std::uint64_t kMaxSettingsBytes = 64U << 20;
constexpr std::array<const char*, 3> kModelFiles = {"tokenizer.model", "spiece.model",
                                                    "sentencepiece.bpe.model"};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string read_if_there(const fs::path& path) {
  return is_there(path) ? read_text_file(path, kMaxSettingsBytes) : std::string();
}

fs::path find_model(const fs::path& folder) {
  for (const char* name : kModelFiles) {
    if (is_there(folder / name)) return folder / name;
  }
  return {};
}

[[noreturn]] void fail_missing(const TokenizerSettings& settings, const char* needed) {
  throw FormatError(
      settings.folder(),
      str_cat("there is no tokenizer.json, and tokenizer_class ",
              settings.tokenizer_class().empty() ? "(none)" : settings.tokenizer_class(),
              " of a model_type ", settings.model_type().empty() ? "(none)" : settings.model_type(),
              " needs ", needed, "; put it there, or name the class in tokenizer_config.json"));
}

void convert(const fs::path& folder, const TokenizerSettings& settings,
             const TokenizerClass& tokenizer_class, SlowTokenizer& out) {
  switch (tokenizer_class.kind) {
    case TokenizerKind::kByteLevelBpe:
      if (!is_there(folder / "vocab.json") || !is_there(folder / "merges.txt")) {
        fail_missing(settings, "vocab.json and merges.txt");
      }
      out.vocabulary = SlowVocabulary::from_bpe_files(folder / "vocab.json", folder / "merges.txt");
      return convert_byte_level(settings, tokenizer_class, out);
    case TokenizerKind::kWordPiece:
      if (!is_there(folder / "vocab.txt")) fail_missing(settings, "vocab.txt");
      out.vocabulary = SlowVocabulary::from_lines(folder / "vocab.txt");
      return convert_word_piece(settings, out);
    case TokenizerKind::kSentencePiece: {
      const fs::path path = find_model(folder);
      if (path.empty()) fail_missing(settings, "tokenizer.model");
      out.model_bytes = read_text_file(path, sentencepiece::kMaxModelBytes);
      out.sentencepiece = sentencepiece::parse_model(out.model_bytes, path);
      return convert_sentencepiece(out.sentencepiece, settings, tokenizer_class, out);
    }
  }
}

/// In transformers' order: what the files add, the named tokens, those with names of their own,
/// the extra ones. Of equal texts the first counts, but for extra ones, which transformers adds
/// once more at the end, with flags of their own.
void collect_added(const TokenizerSettings& settings, const TokenizerClass& tokenizer_class,
                   SlowTokenizer& out) {
  std::vector<ConfiguredToken> named;
  for (const auto& token : out.named) {
    if (token) named.push_back(*token);
  }
  named.insert(named.end(), settings.own_named().begin(), settings.own_named().end());
  if (tokenizer_class.name == Name::kCodeLlama) {
    for (const char* token : {"<PRE>", "<MID>", "<SUF>", "<EOT>"}) {
      named.push_back(special_token(str_cat(kSpacePiece, token)));
    }
    named.push_back(special_token("<FILL_ME>"));
  }
  std::unordered_set<std::string_view> names;
  for (const ConfiguredToken& token : named) names.insert(token.content);
  std::unordered_map<std::string, std::size_t> places;  // among those added
  const auto add = [&](ConfiguredToken token) {
    if (places.emplace(token.content, out.added.size()).second) {
      out.added.push_back(std::move(token));
    }
  };
  const bool raw = tokenizer_class.name == Name::kGeneric && out.sentencepiece.add_dummy_prefix;
  for (const auto& [id, configured] : settings.added()) {
    ConfiguredToken token = configured;
    token.special |= names.contains(token.content);
    // So that each part between added tokens gets a prefix of its own.
    if (raw) token.normalized = false;
    add(std::move(token));
  }
  for (const ConfiguredToken& token : named) add(token);
  for (ConfiguredToken token : settings.extra() ? *settings.extra() : out.extra) {
    token.special = true;
    add(token);
    out.added[places.at(token.content)] = token;
  }
}

/// The ids that the tokenizers library gives to added tokens.
class TokenIds {
 public:
  explicit TokenIds(const SlowTokenizer& parts) : vocabulary_(parts.vocabulary) {
    auto next = static_cast<std::int64_t>(vocabulary_.size());
    for (const ConfiguredToken& token : parts.added) {
      std::int64_t id = next;
      if (const auto known = vocabulary_.find(token.content)) id = *known;
      added_.emplace(token.content, id);
      next = std::max(next, id + 1);
    }
  }
  std::int64_t of(const std::string& token) const {
    const auto found = added_.find(token);
    return found != added_.end() ? found->second : vocabulary_.find(token).value_or(0);
  }

 private:
  const SlowVocabulary& vocabulary_;
  std::map<std::string, std::int64_t> added_;
};

/// A TemplateProcessing of special tokens and "A" or "B", each with its type.
class TemplateJson {
 public:
  explicit TemplateJson(const TokenIds& ids) : ids_(ids) {}

  using Part = std::pair<std::string, int>;
  Json pieces(const std::vector<Part>& parts) {
    Json out = Json::array();
    for (const auto& [text, type] : parts) {
      if (text == "$A" || text == "$B") {
        out.push_back({{"Sequence", {{"id", text.substr(1)}, {"type_id", type}}}});
        continue;
      }
      out.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
      tokens_[text] = {
          {"id", text}, {"ids", Json::array({ids_.of(text)})}, {"tokens", Json::array({text})}};
    }
    return out;
  }
  Json finish(Json single, Json pair) {
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(pair)},
            {"special_tokens", tokens_}};
  }

 private:
  const TokenIds& ids_;
  Json tokens_ = Json::object();
};

/// bos and eos around each sequence.
Json bos_eos(const TokenizerSettings& settings, const TokenizerClass& tokenizer_class,
             const SlowTokenizer& parts, const TokenIds& ids) {
  const bool add_bos = settings.bool_or("add_bos_token", tokenizer_class.name == Name::kCodeLlama);
  const bool add_eos = settings.bool_or("add_eos_token", false);
  std::vector<TemplateJson::Part> list;
  const auto add = [&](const char* sequence, int type) {
    if (add_bos && parts.bos()) list.emplace_back(parts.bos()->content, type);
    list.emplace_back(sequence, type);
    if (add_eos && parts.eos()) list.emplace_back(parts.eos()->content, type);
  };
  TemplateJson json(ids);
  add("$A", 0);
  Json single = json.pieces(list);
  add("$B", 1);
  return json.finish(std::move(single), json.pieces(list));
}

std::string text_or(const std::optional<ConfiguredToken>& token, const char* otherwise) {
  return token ? token->content : otherwise;
}

Json post_processor(const TokenizerSettings& settings, const TokenizerClass& tokenizer_class,
                    const SlowTokenizer& parts, const TokenIds& ids) {
  TemplateJson json(ids);
  const auto roberta = [&](const std::string& cls, const std::string& sep) {
    return Json{{"type", "RobertaProcessing"},
                {"sep", Json::array({sep, ids.of(sep)})},
                {"cls", Json::array({cls, ids.of(cls)})},
                {"trim_offsets", true},
                {"add_prefix_space", false}};
  };
  const std::string bos = text_or(parts.bos(), "<s>");
  const std::string eos = text_or(parts.eos(), "</s>");
  const std::string cls = text_or(parts.cls(), "[CLS]");
  const std::string sep = text_or(parts.sep(), "[SEP]");
  switch (tokenizer_class.name) {
    case Name::kRoberta: return roberta(text_or(parts.cls(), "<s>"), text_or(parts.sep(), "</s>"));
    case Name::kBert:
      return json.finish(json.pieces({{cls, 0}, {"$A", 0}, {sep, 0}}),
                         json.pieces({{cls, 0}, {"$A", 0}, {sep, 0}, {"$B", 1}, {sep, 1}}));
    case Name::kT5:
      return json.finish(json.pieces({{"$A", 0}, {eos, 0}}),
                         json.pieces({{"$A", 0}, {eos, 0}, {"$B", 0}, {eos, 0}}));
    case Name::kXlmRoberta:
      return json.finish(
          json.pieces({{bos, 0}, {"$A", 0}, {eos, 0}}),
          json.pieces({{bos, 0}, {"$A", 0}, {eos, 0}, {eos, 0}, {"$B", 0}, {eos, 0}}));
    default: return bos_eos(settings, tokenizer_class, parts, ids);
  }
}

void append_added(std::string& out, const SlowTokenizer& parts) {
  out += R"("added_tokens":[)";
  const auto flag = [](bool value) { return value ? "true" : "false"; };
  for (std::size_t i = 0; i < parts.added.size(); ++i) {
    const ConfiguredToken& token = parts.added[i];
    out += i == 0 ? R"({"content":)" : R"(,{"content":)";
    append_json_string(out, token.content);
    out += str_cat(R"(,"single_word":)", flag(token.single_word), R"(,"lstrip":)",
                   flag(token.lstrip), R"(,"rstrip":)", flag(token.rstrip), R"(,"normalized":)",
                   flag(token.normalized), R"(,"special":)", flag(token.special), "}");
  }
  out += ']';
}

std::string write_json(const SlowTokenizer& parts, const Json& post) {
  std::string out = R"({"version":"1.0","truncation":null,"padding":null,)";
  append_added(out, parts);
  out += str_cat(R"(,"normalizer":)", parts.normalizer.dump(), R"(,"pre_tokenizer":)",
                 parts.pre_tokenizer.dump(), R"(,"post_processor":)", post.dump(), R"(,"decoder":)",
                 parts.decoder.dump(), R"(,"model":)");
  out += parts.model.dump();
  out.pop_back();
  out += ',';
  parts.vocabulary.append_vocab(out);
  if (parts.model["type"] == "BPE") {
    out += ',';
    parts.vocabulary.append_merges(out);
  }
  return out + "}}";
}

}  // namespace

std::string slow_tokenizer_json(const fs::path& folder, const std::string& tokenizer_config,
                                const std::string& config) {
  const bool any = !find_model(folder).empty() || is_there(folder / "vocab.json") ||
                   is_there(folder / "vocab.txt");
  if (!any) return "";
  const TokenizerSettings settings(
      {.tokenizer_config = tokenizer_config,
       .special_tokens_map = read_if_there(folder / "special_tokens_map.json"),
       .added_tokens = read_if_there(folder / "added_tokens.json"),
       .config = config},
      folder);
  const TokenizerClass& tokenizer_class = tokenizer_class_of(settings);
  SlowTokenizer parts;
  for (std::size_t i = 0; i < std::size(parts.named); ++i) {
    const std::string_view fallback = tokenizer_class.tokens[i];
    parts.named[i] =
        settings.named(TokenizerSettings::kNames[i],
                       fallback.empty() ? std::nullopt : std::optional(std::string(fallback)));
  }
  convert(folder, settings, tokenizer_class, parts);
  collect_added(settings, tokenizer_class, parts);
  const TokenIds ids(parts);
  return write_json(parts, post_processor(settings, tokenizer_class, parts, ids));
}

}  // namespace shoehorn
