// The weight cache's folder as a whole: what is in it, what may go, and room for more. Processes
// share it: a file that is used or written is locked (flock), and so is the folder while files are
// chosen to go.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/written_file.h"
#include "weights/cache_file.h"

namespace shoehorn {

struct CacheFolderFile {
  std::filesystem::path path;
  std::uint64_t bytes = 0;
  std::int64_t last_used_ns = 0;  // since 1970
  bool in_use = false;            // someone has it locked
  bool is_complete = true;        // false: being written, or left by a process that was killed
  CacheKeyText text = {};         // of complete ones
};

/// The cache's own files, the one not used for longest first; none where there is no folder. What
/// else lies there is not ours. `with_text` opens each for what its header says. Throws FileError
/// where the folder cannot be read.
std::vector<CacheFolderFile> list_cache_folder(const std::filesystem::path& folder,
                                               bool with_text = true);

struct RemovedFiles {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::uint64_t in_use = 0;  // that stayed for that reason
};

/// Removes files that nobody uses and that were last used before `before_ns` (since 1970; nothing:
/// all). Throws FileError.
RemovedFiles clear_cache_folder(const std::filesystem::path& folder,
                                std::optional<std::int64_t> before_ns);

/// Removes what killed processes left half written.
void remove_leftovers(const std::filesystem::path& folder);

/// Opens a file of `bytes` in the folder for writing. With a limit (0: none) other files go first,
/// the one not used for longest before the others, never those in use or in `keep`, until all of
/// the cache with the new one is within it. Throws FileError where that is not enough, or the drive
/// is full.
std::unique_ptr<WrittenFile> open_with_room(const std::filesystem::path& path, std::uint64_t bytes,
                                            std::uint64_t limit_bytes,
                                            const std::set<std::filesystem::path>& keep);

}  // namespace shoehorn
