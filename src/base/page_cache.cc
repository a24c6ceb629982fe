#include "base/page_cache.h"

#include <cstddef>
#include <optional>

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace shoehorn {
namespace {

constexpr std::uint64_t kPage = 4096;

// As the kernel has them (linux/mman.h of 6.5); older headers do not.
#ifdef SYS_cachestat
constexpr long kCachestat = SYS_cachestat;
#else
constexpr long kCachestat = 451;  // on every architecture
#endif
struct CachestatRange {
  std::uint64_t offset;
  std::uint64_t bytes;
};
struct Cachestat {
  std::uint64_t cached;
  std::uint64_t dirty;
  std::uint64_t written_back;
  std::uint64_t evicted;
  std::uint64_t recently_evicted;
};

/// Pages of the range that are there; nothing where the system cannot say.
std::optional<std::uint64_t> cached_pages(const File& file, std::uint64_t offset,
                                          std::uint64_t bytes) {
  CachestatRange range{offset, bytes};
  Cachestat found{};
  if (::syscall(kCachestat, file.fd(), &range, &found, 0U) != 0) return std::nullopt;
  return found.cached;
}

}  // namespace

bool in_page_cache(const File& file, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0) return true;
  if (const auto pages = cached_pages(file, offset, bytes)) {
    return *pages > (offset + bytes - 1) / kPage - offset / kPage;
  }
  // Reading ahead would bring in what is asked about while it is asked.
  ::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_RANDOM);
  const auto has = [&](std::uint64_t at) {
    std::byte byte{};
    const iovec where{&byte, 1};
    return ::preadv2(file.fd(), &where, 1, static_cast<off_t>(at), RWF_NOWAIT) == 1;
  };
  const bool both = has(offset) && has(offset + bytes - 1);
  ::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_NORMAL);
  return both;
}

}  // namespace shoehorn
