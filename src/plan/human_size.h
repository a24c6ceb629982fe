// Byte counts for people.
#pragma once

#include <cstddef>
#include <string>

#include "plan/dtype_bytes.h"

namespace shoehorn {

/// In powers of 1024 with three digits: "512 B", "1.50 GiB", "93.4 MiB".
std::string human_size(std::size_t bytes);

/// As accelerate's estimate-memory prints sizes: powers of 1024 called KB, MB, ..., rounded to two
/// decimals half to even, without trailing zeros but for one: "1.5 KB", "250.0 KB". An int below
/// 1024 has no decimals: "1023 bytes".
std::string accelerate_size(PyNumber bytes);

}  // namespace shoehorn
