#include "hub/repository.h"

#include <algorithm>
#include <cctype>
#include <set>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::hub {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxFiles = 200'000;
constexpr std::size_t kMaxCommitBytes = 64;

Json parse_object(std::string_view text, const std::string& place) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    throw FormatError(str_cat(place, ": expected a JSON object"));
  }
  return json;
}

bool is_commit(const std::string& text) {
  return !text.empty() && text.size() <= kMaxCommitBytes &&
         std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0; });
}

}  // namespace

bool is_safe_file_name(std::string_view name) {
  constexpr std::size_t kMaxComponents = 16;
  constexpr std::size_t kMaxComponentBytes = 255;
  std::size_t components = 0;
  while (true) {
    const std::string_view part = name.substr(0, name.find('/'));
    const bool plain = std::ranges::none_of(
        part, [](unsigned char c) { return c < 0x20 || c == 0x7F || c == '\\'; });
    if (part.empty() || part == "." || part == ".." || !plain || part.size() > kMaxComponentBytes ||
        ++components > kMaxComponents) {
      return false;
    }
    if (part.size() == name.size()) return true;
    name.remove_prefix(part.size() + 1);
  }
}

Repository parse_repository(std::string_view text, const std::string& place) {
  const Json json = parse_object(text, place);
  Repository repository;
  const auto sha = json.find("sha");
  if (sha == json.end() || !sha->is_string() || !is_commit(sha->get<std::string>())) {
    throw FormatError(str_cat(place, ": sha: expected the name of a commit"));
  }
  repository.commit = sha->get<std::string>();
  const auto siblings = json.find("siblings");
  if (siblings == json.end() || !siblings->is_array() || siblings->size() > kMaxFiles) {
    throw FormatError(str_cat(place, ": siblings: expected an array of at most ", kMaxFiles));
  }
  std::set<std::string> names;
  for (const Json& sibling : *siblings) {
    const auto name = sibling.is_object() ? sibling.find("rfilename") : sibling.end();
    if (!sibling.is_object() || name == sibling.end() || !name->is_string()) {
      throw FormatError(str_cat(place, ": siblings: expected objects with an \"rfilename\""));
    }
    const auto file = name->get<std::string>();
    if (!is_safe_file_name(file)) {
      throw FormatError(str_cat(place, ": refused: the file name \"", printable(file),
                                "\" would not stay in the model's folder"));
    }
    names.insert(file);
  }
  repository.files.assign(names.begin(), names.end());
  return repository;
}

std::vector<std::string> parse_shard_names(std::string_view text, const std::string& place) {
  const Json json = parse_object(text, place);
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object()) {
    throw FormatError(str_cat(place, ": weight_map: expected an object"));
  }
  std::set<std::string> names;
  for (const Json& value : *map) {
    const std::string name = value.is_string() ? value.get<std::string>() : "";
    if (!is_safe_file_name(name) || name.find('/') != std::string::npos) {
      throw FormatError(str_cat(place, ": weight_map: expected names of files, found ",
                                printable(value.is_string() ? name : value.type_name())));
    }
    names.insert(name);
    if (names.size() > kMaxFiles) throw FormatError(str_cat(place, ": weight_map: too many files"));
  }
  return {names.begin(), names.end()};
}

}  // namespace shoehorn::hub
