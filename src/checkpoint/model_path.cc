#include "checkpoint/model_path.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <vector>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

// refs/main holds a commit of 40 digits; anything much longer is no ref.
constexpr std::uint64_t kMaxRefBytes = 1024;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Letters, digits, '-', '_' and '.', as the hub allows them, and neither "." nor "..".
bool is_plain_name(const std::string& name) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && name != "." && name != ".." && std::ranges::all_of(name, plain);
}

// Plain names with '/' between them: a repository, or a branch such as refs/pr/7.
bool is_plain_path(const std::string& path, std::size_t max_names) {
  std::size_t names = 0;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = path.find('/', begin);
    if (!is_plain_name(path.substr(begin, end - begin))) return false;
    if (++names > max_names) return false;
    if (end == std::string::npos) return true;
    begin = end + 1;
  }
}

// models--org--name.
std::string cache_folder_name(const std::string& repository) {
  std::string name = "models--" + repository;
  if (const std::size_t slash = name.find('/'); slash != std::string::npos) {
    name.replace(slash, 1, "--");
  }
  return name;
}

// The commit that a ref file names; nothing where there is none.
std::optional<std::string> read_ref(const fs::path& ref) {
  std::error_code ignored;
  if (!fs::is_regular_file(ref, ignored)) return std::nullopt;
  std::string commit = read_text_file(ref, kMaxRefBytes);
  commit.erase(commit.find_last_not_of(" \r\n\t") + 1);
  if (!is_plain_name(commit)) throw FormatError(ref, "does not hold the name of a commit");
  return commit;
}

std::string expand_home(const std::string& path, const Environment& environment) {
  if (path != "~" && !path.starts_with("~/")) return path;
  return environment("HOME").value_or("~") + path.substr(1);
}

/// The folder that a variable names; nothing where it is unset.
std::optional<fs::path> named_folder(const char* name, const Environment& environment) {
  const auto value = environment(name);
  if (!value || value->empty()) return std::nullopt;
  return fs::path(expand_home(*value, environment));
}

}  // namespace

std::optional<HubModelName> parse_hub_model_name(const std::string& model) {
  const std::size_t at = model.find('@');
  HubModelName name{.repository = model.substr(0, at),
                    .revision = at == std::string::npos ? "main" : model.substr(at + 1)};
  constexpr std::size_t kMaxRevisionNames = 16;
  if (!is_plain_path(name.repository, 2) || !is_plain_path(name.revision, kMaxRevisionNames)) {
    return std::nullopt;
  }
  return name;
}

std::optional<std::string> process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

std::filesystem::path hub_home_folder(const Environment& environment) {
  if (const auto home = named_folder("HF_HOME", environment)) return *home;
  if (const auto cache = named_folder("XDG_CACHE_HOME", environment)) return *cache / "huggingface";
  if (const auto home = named_folder("HOME", environment)) return *home / ".cache" / "huggingface";
  return {};
}

std::filesystem::path hub_cache_folder(const Environment& environment) {
  if (const auto cache = named_folder("HF_HUB_CACHE", environment)) return *cache;
  if (const auto cache = named_folder("HUGGINGFACE_HUB_CACHE", environment)) return *cache;
  const fs::path home = hub_home_folder(environment);
  return home.empty() ? home : home / "hub";
}

std::filesystem::path resolve_model_path(const std::string& model,
                                         const std::filesystem::path& hub_cache) {
  if (model.empty()) throw ArgumentError("no model was named");
  if (is_there(model)) return model;
  std::vector<fs::path> looked = {fs::absolute(model)};
  const auto name = parse_hub_model_name(model);
  if (name && !hub_cache.empty()) {
    const fs::path repository = hub_cache / cache_folder_name(name->repository);
    const fs::path ref = repository / "refs" / name->revision;
    const auto commit = read_ref(ref);
    fs::path snapshot = repository / "snapshots" / commit.value_or(name->revision);
    if (is_there(snapshot)) return snapshot;
    if (!commit) looked.push_back(ref);
    looked.push_back(snapshot);
  }
  std::string places;
  for (const fs::path& place : looked) places += "\n  " + place.string();
  if (name && name->repository.find('/') != std::string::npos) {
    places += str_cat("\nif the hub has it, `shoehorn pull ", model, "` fetches it");
  }
  throw FileError(model, str_cat("there is no such model; looked for", places));
}

std::filesystem::path resolve_model_path(const std::string& model) {
  return resolve_model_path(model, hub_cache_folder());
}

}  // namespace shoehorn
