// What the system's page cache holds of a file.
#pragma once

#include <cstdint>

#include "base/file.h"

namespace shoehorn {

/// True if the page cache has all of [offset, offset + bytes), by cachestat (Linux 6.5). Where
/// there is none: if it has the first and the last byte, and so very likely the rest. Reads nothing
/// that a drive would notice.
bool in_page_cache(const File& file, std::uint64_t offset, std::uint64_t bytes);

}  // namespace shoehorn
