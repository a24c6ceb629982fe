#include "checkpoint/tokenizer_settings.h"

#include <algorithm>
#include <charconv>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

bool is_known_name(std::string_view name) {
  return std::ranges::find(TokenizerSettings::kNames, name) != std::end(TokenizerSettings::kNames);
}

std::string text_or_empty(const nlohmann::ordered_json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace

ConfiguredToken special_token(std::string content) {
  return {.content = std::move(content), .special = true, .normalized = false};
}

TokenizerSettings::TokenizerSettings(const TokenizerSettingsText& files,
                                     std::filesystem::path folder)
    : folder_(std::move(folder)) {
  settings_ = parse(files.tokenizer_config, "tokenizer_config.json");
  const Json config = parse(files.config, "config.json");
  model_type_ = text_or_empty(config, "model_type");
  tokenizer_class_ = text_or_empty(settings_, "tokenizer_class");
  if (tokenizer_class_.empty()) tokenizer_class_ = text_or_empty(config, "tokenizer_class");
  if (tokenizer_class_.ends_with("Fast")) tokenizer_class_.resize(tokenizer_class_.size() - 4);
  // The new form has all added tokens in one place; the older one in two files.
  if (const auto decoder = settings_.find("added_tokens_decoder"); decoder != settings_.end()) {
    read_added_decoder(*decoder);
  } else {
    read_special_tokens_map(parse(files.special_tokens_map, "special_tokens_map.json"));
    read_extra();
    read_added_tokens(parse(files.added_tokens, "added_tokens.json"));
  }
  read_extra();
  for (const auto& [key, value] : settings_.items()) {
    if (!key.ends_with("_token") || is_known_name(key) || key.starts_with("add_")) continue;
    if (value.is_string() || value.is_object()) own_named_.push_back(token_of(value, key, true));
  }
  if (const auto named = settings_.find("extra_special_tokens");
      named != settings_.end() && named->is_object()) {
    for (const auto& [key, value] : named->items()) {
      own_named_.push_back(token_of(value, key, true));
    }
  }
}

nlohmann::ordered_json TokenizerSettings::parse(const std::string& text, const char* file) const {
  if (text.empty()) return Json::object();
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw FormatError(folder_ / file, "expected a JSON object");
  return json;
}

void TokenizerSettings::fail(const std::string& place, const std::string& what) const {
  throw FormatError(folder_, str_cat("the tokenizer's ", place, ": ", what));
}

/// A text, or an object as AddedToken is written; what it leaves out depends on `special`.
ConfiguredToken TokenizerSettings::token_of(const Json& value, const std::string& place,
                                            bool special) const {
  const auto checked = [&](ConfiguredToken token) {
    if (token.content.empty()) fail(place, "a token without text");
    return token;
  };
  if (value.is_string()) return checked(special_token(value.get<std::string>()));
  if (!value.is_object()) fail(place, "expected a token, as text or object");
  const auto flag = [&](const char* key, bool fallback) {
    const auto found = value.find(key);
    if (found == value.end() || found->is_null()) return fallback;
    if (!found->is_boolean()) fail(place, str_cat(key, " is neither true nor false"));
    return found->get<bool>();
  };
  ConfiguredToken token;
  token.content = text_or_empty(value, "content");
  const bool written = flag("special", false);
  token.special = special || written;
  token.normalized = flag("normalized", !written);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.single_word = flag("single_word", false);
  return checked(std::move(token));
}

void TokenizerSettings::read_added_decoder(const Json& decoder) {
  if (!decoder.is_object()) fail("added_tokens_decoder", "expected an object");
  if (decoder.size() > kMaxTokens) fail("added_tokens_decoder", "more than a million tokens");
  for (const auto& [key, value] : decoder.items()) {
    std::int64_t id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0) {
      fail("added_tokens_decoder", "a key that is no id");
    }
    added_.emplace_back(id, token_of(value, "added_tokens_decoder", false));
  }
  std::ranges::stable_sort(added_, {}, &std::pair<std::int64_t, ConfiguredToken>::first);
}

void TokenizerSettings::read_special_tokens_map(const Json& map) {
  for (const auto& [key, value] : map.items()) {
    if (value.is_object() && key != "extra_special_tokens") {
      Json token = value;
      // AddedToken with special=True: not normalized unless the file says so.
      token["special"] = true;
      settings_[key] = std::move(token);
    } else {
      settings_[key] = value;
    }
  }
}

/// Whichever of the two keys there is; an object holds named tokens instead.
void TokenizerSettings::read_extra() {
  const auto truthy = [&](const char* key) {
    const auto found = settings_.find(key);
    return found != settings_.end() && !found->is_null() && !found->empty();
  };
  const auto old_key = settings_.find("additional_special_tokens");
  if (old_key != settings_.end() && !truthy("extra_special_tokens")) {
    settings_["extra_special_tokens"] = Json(*old_key);
  }
  const auto found = settings_.find("extra_special_tokens");
  if (found == settings_.end() || found->is_object()) return;
  extra_.emplace();
  if (found->is_null()) return;
  if (!found->is_array()) fail("extra_special_tokens", "expected a list");
  if (found->size() > kMaxTokens) fail("extra_special_tokens", "more than a million tokens");
  for (const Json& value : *found) {
    extra_->push_back(token_of(value, "extra_special_tokens", value.is_string()));
  }
}

void TokenizerSettings::read_added_tokens(const Json& map) {
  if (map.size() > kMaxTokens) throw FormatError(folder_ / "added_tokens.json", "too many tokens");
  std::vector<std::string> special;
  for (const std::string_view name : kNames) {
    if (const auto token = named(name, std::nullopt)) special.push_back(token->content);
  }
  for (const auto& token : extra_.value_or(std::vector<ConfiguredToken>())) {
    special.push_back(token.content);
  }
  std::ranges::sort(special);
  for (const auto& [content, id] : map.items()) {
    if (content.empty() || !id.is_number_integer() || id.get<std::int64_t>() < 0) {
      throw FormatError(folder_ / "added_tokens.json", "expected tokens and their ids");
    }
    const bool is_special = std::ranges::binary_search(special, content);
    added_.emplace_back(
        id.get<std::int64_t>(),
        ConfiguredToken{.content = content, .special = is_special, .normalized = !is_special});
  }
  std::ranges::stable_sort(added_, {}, &std::pair<std::int64_t, ConfiguredToken>::first);
}

std::optional<bool> TokenizerSettings::find_bool(const char* key) const {
  const auto found = settings_.find(key);
  if (found == settings_.end() || found->is_null()) return std::nullopt;
  if (!found->is_boolean()) fail(key, "neither true nor false");
  return found->get<bool>();
}

bool TokenizerSettings::bool_or(const char* key, bool fallback) const {
  return find_bool(key).value_or(fallback);
}

std::int64_t TokenizerSettings::integer_or(const char* key, std::int64_t fallback) const {
  const auto found = settings_.find(key);
  if (found == settings_.end() || found->is_null()) return fallback;
  if (!found->is_number_integer()) fail(key, "expected a whole number");
  return found->get<std::int64_t>();
}

std::optional<ConfiguredToken> TokenizerSettings::named(std::string_view name,
                                                        std::optional<std::string> fallback) const {
  const auto found = settings_.find(std::string(name));
  if (found == settings_.end()) {
    if (!fallback) return std::nullopt;
    return special_token(std::move(*fallback));
  }
  if (found->is_null()) return std::nullopt;
  ConfiguredToken token = token_of(*found, std::string(name), true);
  for (const auto& [id, added] : added_) {
    if (added.content == token.content) {
      token = added;
      token.special = true;
      break;
    }
  }
  return token;
}

}  // namespace shoehorn
