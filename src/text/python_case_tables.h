// Upper and title case as Python's str has them. The arrays are in python_case_tables.cc, which
// python_case_tables.py writes.
#pragma once

#include <array>
#include <span>

namespace shoehorn::unicode {

/// Up to three characters, 0 where there are fewer.
struct CaseMapping {
  char32_t from;
  std::array<char32_t, 3> to;
};

// The tables are constants: NOLINTBEGIN(readability-identifier-naming)
/// Where they differ from the character itself, by `from`.
extern const std::span<const CaseMapping> kPythonUpper;
/// Where they differ from the upper case.
extern const std::span<const CaseMapping> kPythonTitle;
// NOLINTEND(readability-identifier-naming)

}  // namespace shoehorn::unicode
