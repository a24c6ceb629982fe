// Has an open file been written to?
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"

namespace shoehorn {

/// Size and time of change of an open file at one moment. A file that was renamed, or replaced
/// under its name, is still the one that is open: it has not changed.
class FileStamp {
 public:
  /// Of now; throws FileError.
  explicit FileStamp(const File& file);
  /// What happened to the file since, in words; empty where nothing did. Throws FileError.
  std::string change(const File& file) const;

 private:
  std::uint64_t size_ = 0;
  std::int64_t changed_ns_ = 0;
};

}  // namespace shoehorn
