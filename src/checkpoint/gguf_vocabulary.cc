#include "checkpoint/gguf_vocabulary.h"

#include <bit>
#include <cmath>
#include <functional>

#include <simdjson.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn::gguf {
namespace {

constexpr std::size_t kMaxTokens = 4'000'000;
constexpr std::size_t kMaxTokenBytes = 65536;

void check_tokens(const Metadata& metadata, const std::vector<std::string_view>& tokens) {
  if (tokens.empty() || tokens.size() > kMaxTokens) {
    throw FormatError(metadata.path(), str_cat("tokenizer.ggml.tokens: ", tokens.size(),
                                               " tokens; 1 to ", kMaxTokens, " are allowed"));
  }
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::string_view token = tokens[id];
    if (token.size() > kMaxTokenBytes) {
      throw FormatError(metadata.path(),
                        str_cat("tokenizer.ggml.tokens: token ", id, " has ", token.size(),
                                " bytes; ", kMaxTokenBytes, " are allowed"));
    }
    if (!simdjson::validate_utf8(token.data(), token.size())) {
      throw FormatError(metadata.path(),
                        str_cat("tokenizer.ggml.tokens: token ", id, " is not UTF-8"));
    }
  }
}

template <typename T>
void check_length(const Metadata& metadata, std::string_view key, const std::vector<T>& values,
                  std::size_t tokens) {
  if (values.size() == tokens) return;
  throw FormatError(metadata.path(),
                    str_cat(key, ": ", values.size(), " entries for ", tokens, " tokens"));
}

/// Empty tokens stand for ids that no text has; they get a name of their own, as in llama.cpp.
void name_empty_tokens(Vocabulary& vocabulary) {
  std::size_t count = 0;
  for (const std::string_view token : vocabulary.tokens) count += token.empty() ? 1 : 0;
  vocabulary.placeholders.reserve(count);  // views into it must not move
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!vocabulary.tokens[id].empty()) continue;
    vocabulary.tokens[id] = vocabulary.placeholders.emplace_back(str_cat("[EMPTY_", id, "]"));
  }
}

}  // namespace

TokenIndex::TokenIndex(std::span<const std::string_view> tokens)
    : tokens_(tokens), slots_(std::bit_ceil(2 * tokens.size() + 1)) {
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const std::size_t slot = slot_of(tokens[id]);
    if (slots_[slot] != 0) {
      if (!duplicate_) duplicate_ = static_cast<std::uint32_t>(id);
    } else {
      slots_[slot] = static_cast<std::uint32_t>(id + 1);
    }
  }
}

std::size_t TokenIndex::slot_of(std::string_view text) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = std::hash<std::string_view>{}(text)&mask;
  while (slots_[slot] != 0 && tokens_[slots_[slot] - 1] != text) slot = (slot + 1) & mask;
  return slot;
}

std::optional<std::uint32_t> TokenIndex::find(std::string_view text) const {
  const std::uint32_t entry = slots_[slot_of(text)];
  if (entry == 0) return std::nullopt;
  return entry - 1;
}

Vocabulary read_vocabulary(const Metadata& metadata) {
  Vocabulary vocabulary;
  vocabulary.tokens = metadata.find_strings("tokenizer.ggml.tokens").value();
  check_tokens(metadata, vocabulary.tokens);
  name_empty_tokens(vocabulary);
  const std::size_t count = vocabulary.tokens.size();
  vocabulary.types.assign(count, TokenType::kNormal);
  if (const auto types = metadata.find_ints("tokenizer.ggml.token_type")) {
    check_length(metadata, "tokenizer.ggml.token_type", *types, count);
    vocabulary.has_types = true;
    for (std::size_t id = 0; id < count; ++id) {
      const std::int64_t type = (*types)[id];
      const bool known = type >= 0 && type <= static_cast<std::int64_t>(TokenType::kByte);
      vocabulary.types[id] = known ? static_cast<TokenType>(type) : TokenType::kUndefined;
    }
  }
  if (auto scores = metadata.find_floats("tokenizer.ggml.scores")) {
    check_length(metadata, "tokenizer.ggml.scores", *scores, count);
    for (std::size_t id = 0; id < count; ++id) {
      if (!std::isfinite((*scores)[id])) {
        throw FormatError(metadata.path(), str_cat("tokenizer.ggml.scores: the score of token ", id,
                                                   " is not finite"));
      }
    }
    vocabulary.scores = *std::move(scores);
  }
  return vocabulary;
}

}  // namespace shoehorn::gguf
