#include "base/host_buffer.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include <sys/mman.h>

#include "shoehorn/error.h"

#include "base/huge_pages.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kPage = 4096;

}  // namespace

HostBuffer::HostBuffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  // Huge pages are only worth their alignment where several fit; a page fault a 2 MiB instead of
  // one a 4 KiB halves the time to load a large model, and spares look-ups while it runs.
  const bool huge = bytes >= 2 * kHugePage;
  const std::size_t align = huge ? kHugePage : kPage;
  const std::size_t rounded = (bytes + kPage - 1) / kPage * kPage;
  mapping_bytes_ = rounded + (huge ? align : 0);
  mapping_ = ::mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED) {
    mapping_ = nullptr;
    throw DeviceError(str_cat("cpu: no room for ", bytes, " bytes: ", std::strerror(errno)));
  }
  const auto start = reinterpret_cast<std::uintptr_t>(mapping_);
  data_ = reinterpret_cast<std::byte*>((start + align - 1) / align * align);
  if (huge) {
    // Only whole huge pages: the tail stays in small ones, so that no more is committed than asked.
    advise_huge_pages(data_, bytes);
  }
}

HostBuffer::~HostBuffer() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapping_bytes_);
}

HostBuffer::HostBuffer(HostBuffer&& other) noexcept {
  *this = std::move(other);
}

HostBuffer& HostBuffer::operator=(HostBuffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  return *this;
}

}  // namespace shoehorn
