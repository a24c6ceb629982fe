#include "base/written_file.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

/// Of this process; another's may have the same number in a container, so that a name may be taken.
std::filesystem::path temporary_name(const std::filesystem::path& path) {
  static std::atomic<unsigned> count{0};
  std::filesystem::path name = path;
  name += str_cat(".tmp-", ::getpid(), "-", count.fetch_add(1));
  return name;
}

}  // namespace

WrittenFile::WrittenFile(const std::filesystem::path& path) : path_(path), written_(path) {
  // Renaming over a device would replace it, so those are written to as they are.
  std::error_code ignored;
  is_temporary_ =
      !std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_CLOEXEC;
  if (is_temporary_) {
    do {
      written_ = temporary_name(path);
      fd_ = ::open(written_.c_str(), kFlags | O_EXCL, 0666);
    } while (fd_ < 0 && errno == EEXIST);
  } else {
    fd_ = ::open(written_.c_str(), kFlags | O_TRUNC, 0666);
  }
  if (fd_ < 0) {
    is_temporary_ = false;
    throw FileError(path, str_cat("cannot be written: ", std::strerror(errno)));
  }
  if (is_temporary_) ::flock(fd_, LOCK_EX | LOCK_NB);
}

WrittenFile::~WrittenFile() {
  if (fd_ >= 0) ::close(fd_);
  if (is_temporary_) ::unlink(written_.c_str());
}

void WrittenFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw FileError(path_, str_cat("writing: ", std::strerror(errno)));
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void WrittenFile::reserve(std::uint64_t bytes) {
  if (!is_temporary_) return;
  const int error = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
  if (error == ENOSPC || error == EFBIG || error == EDQUOT) {
    throw FileError(path_, str_cat("no room for ", bytes, " bytes: ", std::strerror(error)));
  }
}

void WrittenFile::sync() {
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS) {
    throw FileError(path_, str_cat("writing: ", std::strerror(errno)));
  }
  ::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
}

void WrittenFile::commit() {
  // Another descriptor keeps the lock until it has its name.
  const int lock = ::dup(fd_);
  const int closed = ::close(std::exchange(fd_, -1));
  const int close_error = errno;
  const bool renamed =
      closed == 0 && (!is_temporary_ || ::rename(written_.c_str(), path_.c_str()) == 0);
  const int rename_error = errno;
  if (lock >= 0) ::close(lock);
  if (closed != 0) throw FileError(path_, str_cat("writing: ", std::strerror(close_error)));
  if (!renamed)
    throw FileError(path_, str_cat("cannot be replaced: ", std::strerror(rename_error)));
  is_temporary_ = false;
}

}  // namespace shoehorn
