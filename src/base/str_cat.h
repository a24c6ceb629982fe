// Builds messages: str_cat("layer ", 3, ": ", name).
#pragma once

#include <sstream>
#include <string>

namespace shoehorn {

/// All arguments written one after the other, as `operator<<` prints them.
template <typename... Args>
std::string str_cat(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return std::move(out).str();
}

}  // namespace shoehorn
