// A file that appears under its name when it is complete: an error or a crash leaves what was there
// before.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace shoehorn {

/// A file under a temporary name, which is gone again unless commit() gave it its own. What is not
/// a regular file (/dev/stdout) is written to directly. Thread-compatible.
class WrittenFile {
 public:
  /// Throws FileError where it cannot be written.
  explicit WrittenFile(const std::filesystem::path& path);
  ~WrittenFile();
  WrittenFile(const WrittenFile&) = delete;
  WrittenFile& operator=(const WrittenFile&) = delete;

  /// Appends. Throws FileError.
  void write(std::span<const std::byte> bytes);
  /// Closes it and gives it its name. Throws FileError.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path written_;
  int fd_ = -1;
  bool is_temporary_ = false;
};

}  // namespace shoehorn
