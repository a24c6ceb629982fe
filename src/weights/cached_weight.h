// A weight in the weight cache: the bytes it has in memory, in a file of its own.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "base/file.h"

namespace shoehorn {

/// Its file is locked (flock, shared) while this lives, so that nobody cleans it away.
class CachedWeight {
 public:
  /// `offset` is that of the weight's bytes, a whole page, as direct reads want it; `checksum` is
  /// what its header says of them.
  CachedWeight(File opened, std::uint64_t offset, std::uint64_t checksum);

  /// Holds all its bytes, once they were read, against the checksum: whoever reads them calls it.
  /// Looks at them the first time only. Throws FileError for other bytes than were written, and
  /// removes the file, so that the next run makes it anew.
  void check(std::span<const std::byte> bytes) const;

  const File file;
  const std::uint64_t offset;

 private:
  std::uint64_t checksum_;
  mutable std::atomic<bool> checked_{false};
};

}  // namespace shoehorn
