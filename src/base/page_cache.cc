#include "base/page_cache.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

/// The same of whole pages by looking at a mapping, which tells the owner of a file alone.
std::optional<std::uint64_t> mapped_pages(const File& file, std::uint64_t offset,
                                          std::uint64_t bytes) {
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) return std::nullopt;
  if (::geteuid() != 0 && ::geteuid() != status.st_uid) return std::nullopt;
  const std::uint64_t first = offset / kPage * kPage;
  const auto length = static_cast<std::size_t>(offset + bytes - first);
  void* const mapping =
      ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file.fd(), static_cast<off_t>(first));
  if (mapping == MAP_FAILED) return std::nullopt;
  std::vector<unsigned char> there((length + kPage - 1) / kPage);
  const bool known = ::mincore(mapping, length, there.data()) == 0;
  ::munmap(mapping, length);
  if (!known) return std::nullopt;
  return static_cast<std::uint64_t>(
      std::ranges::count_if(there, [](unsigned char page) { return (page & 1U) != 0; }));
}

}  // namespace

bool in_page_cache(const File& file, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0) return true;
  auto pages = cached_pages(file, offset, bytes);
  if (!pages) pages = mapped_pages(file, offset, bytes);
  return pages && *pages > (offset + bytes - 1) / kPage - offset / kPage;
}

}  // namespace shoehorn
