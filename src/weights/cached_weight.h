// A weight in the weight cache: the bytes it has in memory, in a file of its own.
#pragma once

#include <cstdint>

#include "base/file.h"

namespace shoehorn {

struct CachedWeight {
  File file;
  std::uint64_t offset = 0;  // of the weight's bytes: a whole page, as direct reads want it
};

}  // namespace shoehorn
