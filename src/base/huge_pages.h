// Huge pages for large containers: one page fault a 2 MiB instead of one a 4 KiB.
#pragma once

#include <cstddef>

namespace shoehorn {

/// Asks the system for huge pages in the part of [data, data + bytes) that whole ones fill. Meant
/// for memory that was not written yet. Does nothing where few would fit; never fails, the memory
/// works either way.
void advise_huge_pages(void* data, std::size_t bytes);

/// container.reserve(count), of a vector or string, in huge pages where it is large.
template <typename Container>
void reserve_large(Container& container, std::size_t count) {
  container.reserve(count);
  advise_huge_pages(container.data(), container.capacity() * sizeof(*container.data()));
}

}  // namespace shoehorn
