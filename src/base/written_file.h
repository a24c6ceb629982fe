// A file that appears under its name when it is complete: an error or a crash leaves what was there
// before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace shoehorn {

/// A file under a temporary name (PATH.tmp-...), which is gone again unless commit() gave it its
/// own. It is locked (flock) while it is written: one that nobody has locked was left by a process
/// that was killed. What is not a regular file (/dev/stdout) is written to directly.
/// Thread-compatible.
class WrittenFile {
 public:
  /// Throws FileError where it cannot be written.
  explicit WrittenFile(const std::filesystem::path& path);
  ~WrittenFile();
  WrittenFile(const WrittenFile&) = delete;
  WrittenFile& operator=(const WrittenFile&) = delete;

  /// Makes sure of room for a file of so many bytes. Throws FileError where the drive has none;
  /// does nothing where the file system cannot tell.
  void reserve(std::uint64_t bytes);
  /// Appends. Throws FileError.
  void write(std::span<const std::byte> bytes);
  /// Waits until all of it is on the drive, and takes it out of the page cache. Throws FileError.
  void sync();
  /// Closes it and gives it its name. Throws FileError.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path written_;
  int fd_ = -1;
  bool is_temporary_ = false;
};

}  // namespace shoehorn
