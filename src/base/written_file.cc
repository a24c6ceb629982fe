#include "base/written_file.h"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {

WrittenFile::WrittenFile(const std::filesystem::path& path) : path_(path), written_(path) {
  // Renaming over a device would replace it, so those are written to as they are.
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored) || std::filesystem::is_regular_file(path, ignored)) {
    written_ += str_cat(".tmp-", ::getpid());
    is_temporary_ = true;
  }
  fd_ = ::open(written_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) {
    is_temporary_ = false;
    throw FileError(path, str_cat("cannot be written: ", std::strerror(errno)));
  }
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

void WrittenFile::commit() {
  const int closed = ::close(std::exchange(fd_, -1));
  if (closed != 0) throw FileError(path_, str_cat("writing: ", std::strerror(errno)));
  if (!is_temporary_) return;
  if (::rename(written_.c_str(), path_.c_str()) != 0) {
    throw FileError(path_, str_cat("cannot be replaced: ", std::strerror(errno)));
  }
  is_temporary_ = false;
}

}  // namespace shoehorn
