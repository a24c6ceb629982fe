// The weight cache: weights that were converted while loading and are streamed, kept for the next
// run. A file a weight; any number of processes may use, list and clean it at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace shoehorn {

struct CachedFile {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
  std::int64_t last_used_s = 0;  ///< since 1970
  bool in_use = false;
  bool is_complete = true;  ///< false: being written, or left by a process that was killed
  std::string source;       ///< the checkpoint's file; empty where there was none
  std::string tensor;
  std::string form;  ///< "nf4", "int8", "BF16", ...
};

struct ClearedCache {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t in_use = 0;  ///< files that stayed for that reason
};

/// The folder that LoadOptions::offload_folder stands for: itself, or if it is empty
/// shoehorn/weights in the user's cache folder.
std::filesystem::path weight_cache_folder(const std::filesystem::path& offload_folder = {});

/// The cache's files, the one not used for longest first. Throws FileError where the folder cannot
/// be read; one that is not there is empty.
std::vector<CachedFile> list_weight_cache(const std::filesystem::path& folder);

/// Removes files that nobody uses, with `older_than_days` only those not used for so long. Throws
/// FileError.
ClearedCache clear_weight_cache(const std::filesystem::path& folder,
                                std::optional<double> older_than_days = {});

}  // namespace shoehorn
