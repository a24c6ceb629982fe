// Checks of numbers that several commands take.
#pragma once

#include <cstdint>

#include <CLI/CLI.hpp>

namespace shoehorn::cli {

/// A whole number from 1 on.
inline const CLI::Range kCount(std::int64_t{1}, std::int64_t{INT32_MAX});

/// The same, or 0 for none.
inline const CLI::Range kCountOrNone(std::int64_t{0}, std::int64_t{INT32_MAX});

}  // namespace shoehorn::cli
