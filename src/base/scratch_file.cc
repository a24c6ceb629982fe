#include "base/scratch_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

int open_unnamed(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) return fd;
  // A file system that has none of these: a name, for as long as it takes to remove it.
  std::string name = (folder / "scratch-XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

}  // namespace

ScratchFile::ScratchFile(const std::filesystem::path& folder, std::uint64_t bytes)
    : folder_(folder) {
  std::error_code ignored;  // what matters is whether the file can be made
  std::filesystem::create_directories(folder, ignored);
  fd_ = open_unnamed(folder);
  if (fd_ < 0) {
    throw FileError(folder, str_cat("no temporary file can be made: ", std::strerror(errno)));
  }
  int error = EFBIG;
  if (std::in_range<off_t>(bytes)) {
    error = bytes == 0 ? 0 : ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
  }
  if (error != 0) {
    ::close(std::exchange(fd_, -1));
    throw FileError(folder, str_cat("no room for a temporary file of ", bytes,
                                    " bytes: ", std::strerror(error)));
  }
}

ScratchFile::~ScratchFile() {
  if (fd_ >= 0) ::close(fd_);
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : folder_(std::move(other.folder_)), fd_(std::exchange(other.fd_, -1)) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(fd_, other.fd_);
  return *this;
}

void ScratchFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t done = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) {
      throw FileError(folder_, str_cat("reading a temporary file at ", offset, ": ",
                                       done == 0 ? "it ends there" : std::strerror(errno)));
    }
    offset += static_cast<std::uint64_t>(done);
    out = out.subspan(static_cast<std::size_t>(done));
  }
}

void ScratchFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) {
      throw FileError(folder_, str_cat("writing a temporary file: ", std::strerror(errno)));
    }
    offset += static_cast<std::uint64_t>(done);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
  }
}

void ScratchFile::expect(std::uint64_t offset, std::uint64_t bytes) const {
  ::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
}

}  // namespace shoehorn
