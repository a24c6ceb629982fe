#include "hub/cache.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn::hub {
namespace {

namespace fs = std::filesystem;

void create_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw FileError(path, "cannot be created: " + error.message());
}

std::string folder_name(const std::string& repository) {
  std::string name = "models--" + repository;
  if (const std::size_t slash = name.find('/'); slash != std::string::npos) {
    name.replace(slash, 1, "--");
  }
  return name;
}

}  // namespace

CachedModel::CachedModel(const fs::path& cache, const std::string& repository)
    : folder_(cache / folder_name(repository)),
      locks_(cache / ".locks" / folder_name(repository)) {}

void CachedModel::create() const {
  for (const char* name : {"blobs", "snapshots", "refs"}) create_folders(folder_ / name);
  create_folders(locks_);
}

void CachedModel::link(const std::string& commit, const std::string& file,
                       const std::string& etag) const {
  const fs::path path = snapshot(commit) / file;
  create_folders(path.parent_path());
  fs::path target = fs::path("..") / ".." / "blobs" / etag;
  for (const char c : file) {
    if (c == '/') target = ".." / target;
  }
  std::error_code error;
  if (fs::read_symlink(path, error) == target) return;
  // By way of another name: whoever reads the snapshot meets the old link or the new one.
  const fs::path temporary = path.string() + str_cat(".", ::getpid(), ".link");
  fs::remove(temporary, error);
  fs::create_symlink(target, temporary, error);
  if (!error) fs::rename(temporary, path, error);
  if (error) throw FileError(path, "cannot be linked: " + error.message());
}

void CachedModel::write_ref(const std::string& revision, const std::string& commit) const {
  if (revision == commit) return;
  const fs::path path = folder_ / "refs" / revision;
  create_folders(path.parent_path());
  const fs::path temporary = path.string() + str_cat(".", ::getpid(), ".new");
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file << commit;
    file.close();
    if (!file) throw FileError(temporary, "cannot be written");
  }
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error) throw FileError(path, "cannot be written: " + error.message());
}

FileLock::FileLock(const fs::path& path) {
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0) throw FileError(path, str_cat("cannot be opened: ", std::strerror(errno)));
  while (::flock(fd_, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    const std::string why = std::strerror(errno);
    ::close(fd_);
    throw FileError(path, "cannot be locked: " + why);
  }
}

FileLock::~FileLock() {
  ::close(fd_);
}

std::string blob_name(const std::string& etag) {
  std::string_view name = etag;
  if (name.starts_with("W/")) name.remove_prefix(2);
  if (name.size() >= 2 && name.front() == '"' && name.back() == '"') {
    name.remove_prefix(1);
    name.remove_suffix(1);
  }
  constexpr std::size_t kMaxBytes = 128;
  const bool plain = std::ranges::all_of(
      name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
  return plain && name.size() <= kMaxBytes ? std::string(name) : "";
}

}  // namespace shoehorn::hub
