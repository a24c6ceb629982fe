#include "plan/human_size.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <string_view>

namespace shoehorn {
namespace {

std::string with_decimals(double value, int decimals) {
  std::array<char, 64> text{};
  const int length = std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

std::string human_size(std::size_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  constexpr std::array<std::string_view, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return with_decimals(value, decimals) + " " + std::string(kUnits[unit]);
}

std::string accelerate_size(PyNumber bytes) {
  constexpr std::array<std::string_view, 6> kUnits = {"bytes", "KB", "MB", "GB", "TB", "PB"};
  double value = bytes.value;
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0 && !bytes.is_float) return with_decimals(value, 0) + " bytes";
  // printf rounds the exact binary value, half to even, as Python's round does.
  std::string text = with_decimals(value, 2);
  if (text.back() == '0') text.pop_back();
  return text + " " + std::string(kUnits[unit]);
}

}  // namespace shoehorn
