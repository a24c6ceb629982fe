// Pages under large memory: huge ones, one page fault a 2 MiB instead of one a 4 KiB, and all at
// once.
#pragma once

#include <cstddef>

namespace shoehorn {

/// Asks the system for huge pages in the part of [data, data + bytes) that whole ones fill. Meant
/// for memory that was not written yet. Does nothing where few would fit; never fails, the memory
/// works either way.
void advise_huge_pages(void* data, std::size_t bytes);

/// Has the system put pages under [data, data + bytes) now, as writing there would, and leaves what
/// they hold. Several threads do that faster than the one that reads to them, most of all where a
/// virtual machine's host first has to find the memory. False where the system cannot (before Linux
/// 5.14); the memory works either way.
bool populate_pages(void* data, std::size_t bytes);

/// container.reserve(count), of a vector or string, in huge pages where it is large.
template <typename Container>
void reserve_large(Container& container, std::size_t count) {
  container.reserve(count);
  advise_huge_pages(container.data(), container.capacity() * sizeof(*container.data()));
}

}  // namespace shoehorn
