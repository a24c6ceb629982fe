// Checks of numbers that several commands take.
#pragma once

#include <cstdint>

#include <CLI/CLI.hpp>

namespace shoehorn::cli {

/// A whole number from 1 on.
inline const CLI::Range kCount(std::int64_t{1}, std::int64_t{INT32_MAX});

}  // namespace shoehorn::cli
