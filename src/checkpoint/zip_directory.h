// The table of contents of a zip archive (PKWARE's APPNOTE 6.3), with zip64, as far as torch.save
// uses it: entries stored as they are, so that each is a byte range of the file. The archive is not
// trusted: the usual attacks (entries that overlap, that inflate, that name files elsewhere, whose
// two headers differ) are refused before anybody asks for an entry.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/byte_source.h"

namespace shoehorn {

struct ZipEntry {
  std::string name;
  std::uint64_t offset = 0;  // of its first byte in the file
  std::uint64_t bytes = 0;
};

/// Immutable. Entries in the order of their bytes; ranges lie in the file and do not overlap.
class ZipDirectory {
 public:
  /// Throws FormatError naming file and entry for what is damaged, twice there, overlapping, or
  /// named so that it would leave a folder; UnsupportedError for compressed and encrypted entries
  /// and archives of several disks. Allocates a small multiple of the directory's size.
  explicit ZipDirectory(const ByteSource& source);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// Null where there is none of that name.
  const ZipEntry* find(std::string_view name) const;

 private:
  std::vector<ZipEntry> entries_;
  std::unordered_map<std::string_view, std::size_t> index_;  // views into entries_
};

}  // namespace shoehorn
