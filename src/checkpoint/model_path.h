// Turns what a user calls a model into a file or folder: a path, or org/name in the cache that
// huggingface_hub keeps (models--org--name/refs/<revision> names a folder of snapshots/).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace shoehorn {

/// The value of an environment variable; nothing where it is unset.
using Environment = std::function<std::optional<std::string>(const std::string&)>;

/// The variables of this process.
std::optional<std::string> process_environment(const std::string& name);

/// $HF_HOME, else $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface. Empty where not even
/// $HOME is set.
std::filesystem::path hub_home_folder(const Environment& environment = process_environment);

/// A model of the hub.
struct HubModelName {
  std::string repository;  // "org/name", or "name"
  std::string revision;    // "main" where none is written
};
/// Of `org/name`, `name`, `org/name@revision`; nothing where `model` is none of them.
std::optional<HubModelName> parse_hub_model_name(const std::string& model);

/// Where huggingface_hub keeps its snapshots: $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE, else
/// $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub. Empty where
/// not even $HOME is set.
std::filesystem::path hub_cache_folder(const Environment& environment = process_environment);

/// `model` itself where such a file or folder exists, else the snapshot of `org/name`, `name`,
/// `org/name@revision` in the hub cache (revision: a branch or tag that was fetched, or a full
/// commit; default `main`). Throws FileError listing every place it looked at.
std::filesystem::path resolve_model_path(const std::string& model,
                                         const std::filesystem::path& hub_cache);
std::filesystem::path resolve_model_path(const std::string& model);

}  // namespace shoehorn
