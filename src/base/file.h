// Files as we use them: opened once, read at explicit offsets, never through page faults.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace shoehorn {

/// A regular file open for reading. Thread-safe: reads name their offset.
class File {
 public:
  /// Throws FileError if the file cannot be opened or is not a regular file.
  explicit File(const std::filesystem::path& path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Size in bytes when it was opened.
  std::uint64_t size() const { return size_; }
  int fd() const { return fd_; }

  /// Fills `out` with the bytes from `offset` on. Throws FileError on an I/O error, and where the
  /// file ends early (it was truncated since it was opened).
  void read_at(std::uint64_t offset, std::span<std::byte> out) const;
  /// Takes what was read there out of the page cache, whose pages count against the limit of a
  /// control group. Whole pages within the range; a hint.
  void drop_pages(std::uint64_t offset, std::uint64_t bytes) const;

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0;
  int fd_ = -1;
};

/// The whole file as text. Throws FileError if it is missing or larger than `max_bytes`.
std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes = 1U << 28);

}  // namespace shoehorn
