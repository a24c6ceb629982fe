#include "base/file.h"

#include <cerrno>
#include <cstring>
#include <future>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/huge_pages.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

constexpr std::size_t kLargeText = 4U << 20;

}  // namespace

File::File(const std::filesystem::path& path) : path_(path) {
  // O_NONBLOCK: opening a FIFO in a hostile folder must not hang; it has no effect on files.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) throw FileError(path, std::strerror(errno));
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd_);
    throw FileError(path, "not a regular file");
  }
  size_ = static_cast<std::uint64_t>(status.st_size);
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), size_(other.size_), fd_(std::exchange(other.fd_, -1)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(size_, other.size_);
  std::swap(fd_, other.fd_);
  return *this;
}

void File::drop_pages(std::uint64_t offset, std::uint64_t bytes) const {
  ::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(bytes), POSIX_FADV_DONTNEED);
}

void File::read_at(std::uint64_t offset, std::span<std::byte> out) const {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got =
        ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      throw FileError(path_, str_cat("reading ", out.size() - done, " bytes at offset ",
                                     offset + done, ": ", std::strerror(errno)));
    }
    if (got == 0) {
      throw FileError(path_, str_cat("ends at byte ", offset + done, ", ", out.size() - done,
                                     " bytes short of what its header promised; was it truncated "
                                     "after it was opened?"));
    }
    done += static_cast<std::size_t>(got);
  }
}

std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const File file(path);
  if (file.size() > max_bytes) {
    throw FileError(path, str_cat("is ", file.size(), " bytes; at most ", max_bytes,
                                  " are read from a file of this kind"));
  }
  std::string text;
  reserve_large(text, file.size());
  text.resize(file.size());
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(text));
  // Two threads copy a large file faster than one; the first error in the file's order is thrown.
  const std::size_t half = bytes.size() < kLargeText ? bytes.size() : bytes.size() / 2;
  std::future<void> rest = std::async(
      half == bytes.size() ? std::launch::deferred : std::launch::async | std::launch::deferred,
      [&] { file.read_at(half, bytes.subspan(half)); });
  file.read_at(0, bytes.first(half));
  rest.get();
  return text;
}

}  // namespace shoehorn
