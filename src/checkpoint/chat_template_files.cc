#include "checkpoint/chat_template_files.h"

#include <algorithm>
#include <array>
#include <optional>
#include <system_error>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// The compiler of templates refuses more than a mebibyte; here it is only not read at all.
constexpr std::uint64_t kMaxTemplateBytes = 4U << 20;
constexpr std::uint64_t kMaxTokensMapBytes = 16U << 20;
constexpr std::size_t kMaxTemplates = 64;

// transformers' SPECIAL_TOKENS_ATTRIBUTES.
constexpr std::array<const char*, 7> kSpecialTokens = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

Json parse_object(std::string_view text, const fs::path& path) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw FormatError(path, "is not JSON");
  if (!json.is_object()) throw FormatError(path, "expected a JSON object");
  return json;
}

/// The text of a special token; nothing where there is none.
std::optional<std::string> token_text(const Json& value, const char* key, const fs::path& path) {
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  throw FormatError(path, str_cat(key, ": expected a string, or an object with a \"content\""));
}

void take_special_tokens(const Json& json, const fs::path& path, ChatTemplateFiles& files) {
  for (const char* key : kSpecialTokens) {
    if (!json.contains(key)) continue;
    const auto text = token_text(json[key], key, path);
    std::erase_if(files.special_tokens, [key](const auto& token) { return token.first == key; });
    if (text) files.special_tokens.emplace_back(key, *text);
  }
}

void add_template_files(const fs::path& folder, ChatTemplateFiles& files) {
  const fs::path single = folder / "chat_template.jinja";
  if (is_file(single)) {
    files.sources.emplace_back("default", read_text_file(single, kMaxTemplateBytes));
  }
  const fs::path more = folder / "additional_chat_templates";
  std::vector<fs::path> found;
  std::error_code error;
  fs::directory_iterator entry(more, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() == ".jinja") found.push_back(entry->path());
  }
  if (found.size() > kMaxTemplates) {
    throw FormatError(
        more, str_cat("has ", found.size(), " templates; at most ", kMaxTemplates, " are read"));
  }
  std::ranges::sort(found);
  for (const fs::path& path : found) {
    // As in transformers, a file called default.jinja would replace chat_template.jinja.
    const std::string name = path.stem().string();
    std::erase_if(files.sources, [&](const auto& source) { return source.first == name; });
    files.sources.emplace_back(name, read_text_file(path, kMaxTemplateBytes));
  }
}

void add_config_templates(const Json& config, const fs::path& path, ChatTemplateFiles& files) {
  if (!config.contains("chat_template") || config["chat_template"].is_null()) return;
  const Json& value = config["chat_template"];
  if (value.is_string()) {
    files.sources.emplace_back("default", value.get<std::string>());
    return;
  }
  const char* expected =
      "chat_template: expected a string or a list of objects with \"name\" and \"template\"";
  if (!value.is_array() || value.size() > kMaxTemplates) throw FormatError(path, expected);
  for (const Json& one : value) {
    if (!one.is_object() || !one.contains("name") || !one["name"].is_string() ||
        !one.contains("template") || !one["template"].is_string()) {
      throw FormatError(path, expected);
    }
    const auto name = one["name"].get<std::string>();
    if (std::ranges::any_of(files.sources, [&](const auto& it) { return it.first == name; })) {
      throw FormatError(path, str_cat("chat_template: two are named ", printable(name)));
    }
    files.sources.emplace_back(name, one["template"].get<std::string>());
  }
}

}  // namespace

ChatTemplateFiles find_chat_templates(const std::filesystem::path& folder,
                                      std::string_view tokenizer_config_json) {
  ChatTemplateFiles files;
  const fs::path config_path = folder / "tokenizer_config.json";
  const Json config = tokenizer_config_json.empty()
                          ? Json::object()
                          : parse_object(tokenizer_config_json, config_path);
  if (!folder.empty()) add_template_files(folder, files);
  files.path = files.sources.empty() ? config_path : folder / "chat_template.jinja";
  if (files.sources.empty()) add_config_templates(config, config_path, files);
  take_special_tokens(config, config_path, files);
  const fs::path map_path = folder / "special_tokens_map.json";
  if (!folder.empty() && !config.contains("added_tokens_decoder") && is_file(map_path)) {
    take_special_tokens(parse_object(read_text_file(map_path, kMaxTokensMapBytes), map_path),
                        map_path, files);
  }
  return files;
}

}  // namespace shoehorn
