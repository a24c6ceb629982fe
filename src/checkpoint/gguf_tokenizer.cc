#include "checkpoint/gguf_tokenizer.h"

#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>
#include <simdjson.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/gguf_merges.h"
#include "checkpoint/gguf_pre_tokenizer.h"
#include "checkpoint/gguf_vocabulary.h"
#include "checkpoint/json_text.h"
#include "checkpoint/printable.h"

namespace shoehorn::gguf {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581, SentencePiece's space

/// The ids that have a role; none where the file does not say.
struct SpecialIds {
  std::optional<std::uint32_t> bos;
  std::optional<std::uint32_t> eos;
  std::optional<std::uint32_t> unk;
  std::optional<std::uint32_t> pad;
};

std::optional<std::uint32_t> find_id(const Metadata& metadata, std::string_view name,
                                     std::size_t vocabulary_size) {
  const std::string key = str_cat("tokenizer.ggml.", name, "_token_id");
  const auto id = metadata.find_uint(key);
  if (!id) return std::nullopt;
  // Converters write the largest id for "there is none".
  if (*id == 0xFFFFFFFF) return std::nullopt;
  if (*id >= vocabulary_size) {
    throw FormatError(metadata.path(),
                      str_cat(key, ": ", *id, " is beyond the ", vocabulary_size, " tokens"));
  }
  return static_cast<std::uint32_t>(*id);
}

/// What the two kinds of tokenizer have in common.
struct TokenizerParts {
  const Metadata& metadata;
  Vocabulary vocabulary;
  TokenIndex index;
  SpecialIds ids;
  bool add_bos = false;
  bool add_eos = false;
};

TokenizerParts read_parts(const Metadata& metadata) {
  Vocabulary vocabulary = read_vocabulary(metadata);
  const std::size_t size = vocabulary.tokens.size();
  // The index looks at the strings of the vector, which keeps its place when moved.
  TokenIndex index(vocabulary.tokens);
  if (const auto twice = index.duplicate()) {
    throw FormatError(
        metadata.path(),
        str_cat("tokenizer.ggml.tokens: tokens ", index.find(vocabulary.tokens[*twice]).value(),
                " and ", *twice, " are equal: ", printable(vocabulary.tokens[*twice])));
  }
  const SpecialIds ids = {.bos = find_id(metadata, "bos", size),
                          .eos = find_id(metadata, "eos", size),
                          .unk = find_id(metadata, "unknown", size),
                          .pad = find_id(metadata, "padding", size)};
  return {.metadata = metadata,
          .vocabulary = std::move(vocabulary),
          .index = std::move(index),
          .ids = ids};
}

/// Old files have no token types: then only what has a role is special.
bool is_special(const TokenizerParts& parts, std::uint32_t id) {
  if (!parts.vocabulary.has_types) return id == parts.ids.bos || id == parts.ids.eos;
  return parts.vocabulary.types[id] == TokenType::kControl ||
         parts.vocabulary.types[id] == TokenType::kUnknown;
}

void append_added_tokens(std::string& out, const TokenizerParts& parts) {
  out += R"("added_tokens":[)";
  bool first = true;
  for (std::uint32_t id = 0; id < parts.vocabulary.tokens.size(); ++id) {
    const bool special = is_special(parts, id);
    if (!special && parts.vocabulary.types[id] != TokenType::kUserDefined) continue;
    if (!first) out += ',';
    first = false;
    out += R"({"id":)";
    out += std::to_string(id);
    out += R"(,"content":)";
    append_json_string(out, parts.vocabulary.tokens[id]);
    out += R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":)";
    out += special ? "true}" : "false}";
  }
  out += ']';
}

void append_vocab(std::string& out, const TokenizerParts& parts) {
  out += R"("vocab":{)";
  for (std::uint32_t id = 0; id < parts.vocabulary.tokens.size(); ++id) {
    if (id != 0) out += ',';
    append_json_string(out, parts.vocabulary.tokens[id]);
    out += ':';
    out += std::to_string(id);
  }
  out += '}';
}

/// Merges as the file has them: "left right", cut at the first space that is not at the start.
void append_merge_texts(std::string& out, const TokenizerParts& parts,
                        std::span<const std::string_view> merges) {
  out += R"("merges":[)";
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string_view merge = merges[i];
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size() ||
        !simdjson::validate_utf8(merge.data(), merge.size())) {
      throw FormatError(parts.metadata.path(),
                        str_cat("tokenizer.ggml.merges: entry ", i, " (", printable(merge),
                                ") is not two tokens with a space between"));
    }
    out += i == 0 ? "[" : ",[";
    append_json_string(out, merge.substr(0, space));
    out += ',';
    append_json_string(out, merge.substr(space + 1));
    out += ']';
  }
  out += ']';
}

void append_merges(std::string& out, const TokenizerParts& parts, std::span<const Merge> merges) {
  out += R"("merges":[)";
  for (std::size_t i = 0; i < merges.size(); ++i) {
    out += i == 0 ? "[" : ",[";
    append_json_string(out, parts.vocabulary.tokens[merges[i].left]);
    out += ',';
    append_json_string(out, parts.vocabulary.tokens[merges[i].right]);
    out += ']';
  }
  out += ']';
}

/// bos and eos around a sequence, or "null".
std::string post_processor(const TokenizerParts& parts) {
  const auto bos = parts.add_bos ? parts.ids.bos : std::nullopt;
  const auto eos = parts.add_eos ? parts.ids.eos : std::nullopt;
  if (!bos && !eos) return "null";
  Json special_tokens = Json::object();
  const auto text_of = [&](std::uint32_t id) { return std::string(parts.vocabulary.tokens[id]); };
  const auto add_sequence = [&](Json& pieces, const char* sequence, int type_id) {
    if (bos) pieces.push_back({{"SpecialToken", {{"id", text_of(*bos)}, {"type_id", type_id}}}});
    pieces.push_back({{"Sequence", {{"id", sequence}, {"type_id", type_id}}}});
    if (eos) pieces.push_back({{"SpecialToken", {{"id", text_of(*eos)}, {"type_id", type_id}}}});
  };
  for (const auto& id : {bos, eos}) {
    if (!id) continue;
    special_tokens[text_of(*id)] = {
        {"id", text_of(*id)}, {"ids", Json::array({*id})}, {"tokens", Json::array({text_of(*id)})}};
  }
  Json single = Json::array();
  add_sequence(single, "A", 0);
  Json pair = single;
  add_sequence(pair, "B", 1);
  return Json{{"type", "TemplateProcessing"},
              {"single", single},
              {"pair", pair},
              {"special_tokens", special_tokens}}
      .dump();
}

/// The opening of tokenizer.json, up to and with `"model":{`; decoders and normalizers are JSON
/// text.
std::string opening(const TokenizerParts& parts, std::string_view normalizer,
                    std::string_view pre_tokenizer, std::string_view decoder) {
  std::string out = R"({"version":"1.0","truncation":null,"padding":null,)";
  std::size_t text = 0;
  for (const std::string_view token : parts.vocabulary.tokens) text += token.size() + 12;
  out.reserve(4 * text);
  append_added_tokens(out, parts);
  out += str_cat(R"(,"normalizer":)", normalizer, R"(,"pre_tokenizer":)", pre_tokenizer,
                 R"(,"post_processor":)", post_processor(parts), R"(,"decoder":)", decoder,
                 R"(,"model":{"type":"BPE","dropout":null,)");
  return out;
}

void set_template_flags(TokenizerParts& parts, bool add_bos, bool add_eos) {
  parts.add_bos = parts.metadata.find_bool("tokenizer.ggml.add_bos_token").value_or(add_bos);
  parts.add_eos = parts.metadata.find_bool("tokenizer.ggml.add_eos_token").value_or(add_eos);
}

std::string byte_level_json(TokenizerParts& parts, std::vector<std::string>& notes) {
  const auto named = parts.metadata.find_string("tokenizer.ggml.pre");
  if (!named) notes.emplace_back("tokenizer.ggml.pre is missing: text is cut as GPT-2 cuts it");
  const PreTokenizer pre = pre_tokenizer_named(named.value_or("gpt-2"), parts.metadata.path());
  const auto merges = parts.metadata.find_strings("tokenizer.ggml.merges");
  if (!merges) {
    throw FormatError(parts.metadata.path(),
                      "tokenizer.ggml.merges is missing; a gpt2 tokenizer has merges");
  }
  set_template_flags(parts, pre.add_bos_token, false);
  constexpr std::string_view kDecoder =
      R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
  std::string out = opening(parts, pre.normalizer, pre.pre_tokenizer, kDecoder);
  out += R"("unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,)";
  out += R"("fuse_unk":false,"byte_fallback":false,"ignore_merges":)";
  out += pre.ignore_merges ? "true," : "false,";
  append_vocab(out, parts);
  out += ',';
  append_merge_texts(out, parts, *merges);
  return out + "}}";
}

/// Llama 2's normalizer: the prefix is put before every segment between added tokens.
std::string sentencepiece_normalizer(bool add_space_prefix) {
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}};
  if (!add_space_prefix) return replace.dump();
  const Json prepend = {{"type", "Prepend"}, {"prepend", kSpace}};
  return Json{{"type", "Sequence"}, {"normalizers", Json::array({prepend, replace})}}.dump();
}

std::string sentencepiece_decoder(bool add_space_prefix) {
  Json decoders =
      Json::array({Json{{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}},
                   Json{{"type", "ByteFallback"}}, Json{{"type", "Fuse"}}});
  if (add_space_prefix) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return Json{{"type", "Sequence"}, {"decoders", decoders}}.dump();
}

std::string sentencepiece_json(TokenizerParts& parts) {
  const Metadata& metadata = parts.metadata;
  const Vocabulary& vocabulary = parts.vocabulary;
  const auto merges = metadata.find_strings("tokenizer.ggml.merges");
  if (!merges && vocabulary.scores.empty()) {
    throw FormatError(metadata.path(),
                      "tokenizer.ggml.scores is missing; a llama tokenizer has scores or merges");
  }
  const bool prefix = metadata.find_bool("tokenizer.ggml.add_space_prefix").value_or(true);
  const bool byte_fallback = parts.index.find("<0x00>").has_value();
  set_template_flags(parts, true, false);
  std::string out =
      opening(parts, sentencepiece_normalizer(prefix), "null", sentencepiece_decoder(prefix));
  out += R"("unk_token":)";
  if (parts.ids.unk) {
    append_json_string(out, vocabulary.tokens[*parts.ids.unk]);
  } else {
    out += "null";
  }
  out += R"(,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":true,)";
  out += str_cat(R"("byte_fallback":)", byte_fallback ? "true" : "false",
                 R"(,"ignore_merges":false,)");
  append_vocab(out, parts);
  out += ',';
  if (merges) {
    append_merge_texts(out, parts, *merges);
  } else {
    append_merges(out, parts, merges_from_scores(vocabulary, parts.index, metadata.path()));
  }
  return out + "}}";
}

/// The chat templates: one text, or a list of named ones where there are several.
Json chat_template(const Metadata& metadata) {
  const auto unnamed = metadata.find_string("tokenizer.chat_template");
  const auto names = metadata.find_strings("tokenizer.chat_templates");
  Json list = Json::array();
  if (unnamed) list.push_back({{"name", "default"}, {"template", *unnamed}});
  if (names) {
    for (const std::string_view name : *names) {
      const auto text = metadata.find_string(str_cat("tokenizer.chat_template.", name));
      if (text && simdjson::validate_utf8(name.data(), name.size())) {
        list.push_back({{"name", name}, {"template", *text}});
      }
    }
  }
  if (list.empty()) return {};
  return unnamed && list.size() == 1 ? Json(*unnamed) : list;
}

std::string config_json_of(const TokenizerParts& parts) {
  Json json = {{"add_bos_token", parts.add_bos}, {"add_eos_token", parts.add_eos}};
  const auto add = [&](const char* name, std::optional<std::uint32_t> id) {
    json[name] = id ? Json(parts.vocabulary.tokens[*id]) : Json();
  };
  add("bos_token", parts.ids.bos);
  add("eos_token", parts.ids.eos);
  add("pad_token", parts.ids.pad);
  add("unk_token", parts.ids.unk);
  json["clean_up_tokenization_spaces"] = false;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  Json chat = chat_template(parts.metadata);
  if (!chat.is_null()) json["chat_template"] = std::move(chat);
  return json.dump(2);
}

}  // namespace

TokenizerFiles tokenizer_files(const Metadata& metadata) {
  TokenizerFiles files;
  const auto model = metadata.find_string("tokenizer.ggml.model");
  if (!model || *model == "none" || !metadata.has("tokenizer.ggml.tokens")) return files;
  if (*model != "gpt2" && *model != "llama") {
    throw UnsupportedError(str_cat(metadata.path().string(), ": tokenizer.ggml.model is ",
                                   printable(*model), "; supported tokenizers are gpt2, llama"));
  }
  TokenizerParts parts = read_parts(metadata);
  if (*model == "gpt2") {
    files.tokenizer_json = byte_level_json(parts, files.notes);
  } else {
    // Files that do not say mean SentencePiece's own ids.
    const auto default_id = [&](std::uint32_t id) {
      return id < parts.vocabulary.tokens.size() ? std::optional(id) : std::nullopt;
    };
    if (!metadata.has("tokenizer.ggml.unknown_token_id")) parts.ids.unk = default_id(0);
    if (!metadata.has("tokenizer.ggml.bos_token_id")) parts.ids.bos = default_id(1);
    if (!metadata.has("tokenizer.ggml.eos_token_id")) parts.ids.eos = default_id(2);
    files.tokenizer_json = sentencepiece_json(parts);
  }
  files.tokenizer_config_json = config_json_of(parts);
  if (const auto given = metadata.find_string("tokenizer.huggingface.json")) {
    files.tokenizer_json = std::string(*given);
  }
  return files;
}

}  // namespace shoehorn::gguf
