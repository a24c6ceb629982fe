#include "weights/cache_folder.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

/// Of a file or a folder, while this lives.
class Lock {
 public:
  /// Exclusive; `waits` until others are done, else is_held() tells.
  Lock(const fs::path& path, bool waits) {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd_ < 0) return;
    int done = 0;
    do {
      done = ::flock(fd_, LOCK_EX | (waits ? 0 : LOCK_NB));
    } while (done != 0 && errno == EINTR);
    is_held_ = done == 0;
  }
  ~Lock() {
    if (fd_ >= 0) ::close(fd_);
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  bool is_held() const { return is_held_; }

 private:
  int fd_ = -1;
  bool is_held_ = false;
};

/// "0123456789abcdef.weight", and with ".tmp-..." behind it what is not complete.
std::optional<bool> is_complete_name(std::string_view name) {
  constexpr std::size_t kDigits = 16;
  if (name.size() < kDigits + kCacheExtension.size()) return std::nullopt;
  if (name.find_first_not_of("0123456789abcdef") != kDigits) return std::nullopt;
  if (name.substr(kDigits, kCacheExtension.size()) != kCacheExtension) return std::nullopt;
  const std::string_view rest = name.substr(kDigits + kCacheExtension.size());
  if (rest.empty()) return true;
  return rest.starts_with(".tmp-") ? std::optional(false) : std::nullopt;
}

/// Reading it to show it is no use: its time of access stays.
std::optional<CacheHeader> header_of(const fs::path& path, const timespec& accessed) {
  try {
    const File file(path);
    std::string header(kCacheHeaderBytes, '\0');
    if (file.size() < header.size()) return std::nullopt;
    file.read_at(0, std::as_writable_bytes(std::span(header)));
    const timespec times[2] = {accessed, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
    ::futimens(file.fd(), times);
    return parse_cache_header(header);
  } catch (const FileError&) {
    return std::nullopt;  // it has gone meanwhile, or is not ours to read
  }
}

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::optional<CacheFolderFile> describe(const fs::path& path, bool with_text) {
  const auto complete = is_complete_name(path.filename().string());
  struct stat status {};
  if (!complete || ::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return std::nullopt;
  }
  CacheFolderFile file{
      .path = path,
      .bytes = static_cast<std::uint64_t>(status.st_size),
      .last_used_ns = std::max(nanoseconds(status.st_atim), nanoseconds(status.st_mtim)),
      .is_complete = *complete};
  if (*complete && with_text) {
    const auto header = header_of(path, status.st_atim);
    if (header) file.text = cache_key_text(header->key);
  }
  file.in_use = !Lock(path, /*waits=*/false).is_held();
  return file;
}

/// The lock is held while it goes: whoever opened it just before keeps the bytes, not the name.
bool remove_unused(const fs::path& path) {
  const Lock lock(path, /*waits=*/false);
  return lock.is_held() && ::unlink(path.c_str()) == 0;
}

}  // namespace

std::vector<CacheFolderFile> list_cache_folder(const fs::path& folder, bool with_text) {
  std::vector<CacheFolderFile> files;
  std::error_code error;
  if (!fs::exists(folder, error)) return files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (auto file = describe(entry->path(), with_text)) files.push_back(std::move(*file));
  }
  if (error) throw FileError(folder, "the weight cache cannot be listed: " + error.message());
  std::ranges::sort(files, {}, [](const CacheFolderFile& file) {
    return std::pair(file.last_used_ns, file.path);
  });
  return files;
}

RemovedFiles clear_cache_folder(const fs::path& folder, std::optional<std::int64_t> before_ns) {
  RemovedFiles removed;
  std::error_code error;
  if (!fs::exists(folder, error)) return removed;
  const Lock lock(folder, /*waits=*/true);
  for (const CacheFolderFile& file : list_cache_folder(folder, /*with_text=*/false)) {
    if (before_ns && file.last_used_ns >= *before_ns) continue;
    if (!remove_unused(file.path)) {
      ++removed.in_use;
      continue;
    }
    ++removed.files;
    removed.bytes += file.bytes;
  }
  return removed;
}

void remove_leftovers(const fs::path& folder) {
  // Files are made, and locked, while the folder is.
  const Lock lock(folder, /*waits=*/true);
  for (const CacheFolderFile& file : list_cache_folder(folder, /*with_text=*/false)) {
    if (!file.is_complete) remove_unused(file.path);
  }
}

std::unique_ptr<WrittenFile> open_with_room(const fs::path& path, std::uint64_t bytes,
                                            std::uint64_t limit_bytes,
                                            const std::set<fs::path>& keep) {
  const Lock lock(path.parent_path(), /*waits=*/true);
  if (limit_bytes > 0) {
    const auto files = list_cache_folder(path.parent_path(), /*with_text=*/false);
    // What another process is writing under the same name counts once.
    const std::string name = path.filename().string();
    std::uint64_t total = bytes;
    for (const CacheFolderFile& file : files) {
      if (!file.path.filename().string().starts_with(name)) total += file.bytes;
    }
    for (const CacheFolderFile& file : files) {
      if (total <= limit_bytes) break;
      if (file.path.filename().string().starts_with(name) || keep.contains(file.path) ||
          !remove_unused(file.path)) {
        continue;
      }
      total -= file.bytes;
    }
    if (total > limit_bytes) {
      throw FileError(path.parent_path(),
                      str_cat("the weight cache would hold ", total,
                              " bytes of weights that are in use, --offload-cache-limit allows ",
                              limit_bytes, ": raise it, or name another --offload-folder"));
    }
  }
  // Its room is taken while the folder is locked: others count it from now on.
  auto file = std::make_unique<WrittenFile>(path);
  file->reserve(bytes);
  return file;
}

}  // namespace shoehorn
