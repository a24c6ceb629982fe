// What the system's page cache holds of a file.
#pragma once

#include <cstdint>

#include "base/file.h"

namespace shoehorn {

/// True if the page cache has all of [offset, offset + bytes), which lie in the file. Asked of
/// cachestat (Linux 6.5), else of mincore, which tells the owner of a file alone; false where
/// neither says. Reads nothing: a read that would not wait brings in what it asks for.
bool in_page_cache(const File& file, std::uint64_t offset, std::uint64_t bytes);

}  // namespace shoehorn
