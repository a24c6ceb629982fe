#include "weights/cached_weight.h"

#include <cerrno>

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/checksum.h"

namespace shoehorn {

CachedWeight::CachedWeight(File opened, std::uint64_t offset, std::uint64_t checksum)
    : file(std::move(opened)), offset(offset), checksum_(checksum) {
  // Whoever cleans holds a lock for a moment only.
  while (::flock(file.fd(), LOCK_SH) != 0 && errno == EINTR) {
  }
  // When it was last used: what is cleaned away first was not used for longest. The time of change
  // stays.
  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_NOW},
                             {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  ::futimens(file.fd(), times);  // another user's file keeps its time
}

void CachedWeight::check(std::span<const std::byte> bytes) const {
  if (checked_.load(std::memory_order_relaxed)) return;
  if (checksum(bytes) != checksum_) {
    ::unlink(file.path().c_str());
    throw FileError(file.path(),
                    "this file of the weight cache holds other bytes than were written to it; it "
                    "has been removed, the next run makes it anew");
  }
  checked_.store(true, std::memory_order_relaxed);
}

}  // namespace shoehorn
