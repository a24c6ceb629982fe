// What the small files beside a vocabulary say about it: tokenizer_config.json,
// special_tokens_map.json, added_tokens.json, read as transformers 5 reads them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace shoehorn {

/// A token that is matched in the text itself.
struct ConfiguredToken {
  std::string content;
  bool special = false;
  bool normalized = true;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
};

/// A special token as classes have them by default: neither stripped nor normalized.
ConfiguredToken special_token(std::string content);

/// The texts of the files, empty where one is not there.
struct TokenizerSettingsText {
  std::string tokenizer_config;
  std::string special_tokens_map;
  std::string added_tokens;
  std::string config;  // the model's config.json
};

class TokenizerSettings {
 public:
  /// Token names that transformers knows for every class, in its order.
  static constexpr std::string_view kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                "pad_token", "cls_token", "mask_token"};
  static constexpr std::size_t kMaxTokens = 1'000'000;

  /// `folder` is for messages. Throws FormatError where a file is not JSON or a token has no text.
  TokenizerSettings(const TokenizerSettingsText& files, std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  /// tokenizer_class of tokenizer_config.json, else of config.json, without "Fast"; may be empty.
  const std::string& tokenizer_class() const { return tokenizer_class_; }
  /// model_type of config.json; may be empty.
  const std::string& model_type() const { return model_type_; }

  bool bool_or(const char* key, bool fallback) const;
  std::optional<bool> find_bool(const char* key) const;
  std::int64_t integer_or(const char* key, std::int64_t fallback) const;

  /// A named token: the files' own; where they do not have the name (null is having it) `fallback`.
  std::optional<ConfiguredToken> named(std::string_view name,
                                       std::optional<std::string> fallback) const;
  /// Tokens named by other keys that end in "_token", and named extra special tokens.
  const std::vector<ConfiguredToken>& own_named() const { return own_named_; }
  /// extra_special_tokens (once additional_special_tokens); nothing where the files do not say.
  const std::optional<std::vector<ConfiguredToken>>& extra() const { return extra_; }
  /// By the id that the files give them, which need not be the one they get.
  const std::vector<std::pair<std::int64_t, ConfiguredToken>>& added() const { return added_; }

 private:
  using Json = nlohmann::ordered_json;

  Json parse(const std::string& text, const char* file) const;
  ConfiguredToken token_of(const Json& value, const std::string& place, bool special) const;
  void read_added_decoder(const Json& decoder);
  void read_special_tokens_map(const Json& map);
  void read_added_tokens(const Json& map);
  void read_extra();
  [[noreturn]] void fail(const std::string& place, const std::string& what) const;

  std::filesystem::path folder_;
  Json settings_ = Json::object();
  std::string tokenizer_class_;
  std::string model_type_;
  std::vector<ConfiguredToken> own_named_;
  std::optional<std::vector<ConfiguredToken>> extra_;
  std::vector<std::pair<std::int64_t, ConfiguredToken>> added_;
};

}  // namespace shoehorn
