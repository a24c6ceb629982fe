// Digits to one integer, and one multiplication or division by a power of ten.
#include "text/serde_double.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

namespace shoehorn::text {
namespace {

constexpr int kMaxPower = 308;  // 1e308 is the largest power of ten that is a double

/// 1e0 to 1e308, each the nearest double; multiplying them up would add errors of its own.
std::array<double, kMaxPower + 1> make_powers() {
  std::array<double, kMaxPower + 1> powers{};
  for (int i = 0; i <= kMaxPower; ++i) {
    const std::string text = "1e" + std::to_string(i);
    std::from_chars(text.data(), text.data() + text.size(), powers[static_cast<std::size_t>(i)]);
  }
  return powers;
}

double power_of_ten(std::int64_t exponent) {
  static const std::array<double, kMaxPower + 1> powers = make_powers();
  return powers[static_cast<std::size_t>(exponent)];
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// What the digits of a number are before the power of ten.
struct Decimal {
  std::uint64_t significand = 0;
  std::int64_t exponent = 0;

  /// Appends a digit; false where 64 bits do not hold it.
  bool push(char digit) {
    std::uint64_t next = 0;
    if (__builtin_mul_overflow(significand, std::uint64_t{10}, &next) ||
        __builtin_add_overflow(next, static_cast<std::uint64_t>(digit - '0'), &next)) {
      return false;
    }
    significand = next;
    return true;
  }
};

// The digits before an exponent. Those that do not fit are left out; behind the point fitting is
// tried anew, so that a small digit there may follow a large one that did not fit.
Decimal read_digits(std::string_view digits) {
  Decimal out;
  std::size_t i = 0;
  while (i < digits.size() && digits[i] != '.' && out.push(digits[i])) ++i;
  for (; i < digits.size() && digits[i] != '.'; ++i) ++out.exponent;
  for (++i; i < digits.size() && out.push(digits[i]); ++i) --out.exponent;
  return out;
}

// Behind the 'e'. What no exponent of 32 bits holds is the same as the largest one.
std::int64_t read_exponent(std::string_view digits) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const bool negative = digits.starts_with('-');
  std::int64_t value = 0;
  for (const char c : digits) {
    if (is_digit(c) && value < kMost) value = value * 10 + (c - '0');
  }
  if (value > kMost) value = kMost;
  return negative ? -value : value;
}

}  // namespace

std::optional<double> serde_double(std::string_view number) {
  const bool negative = number.starts_with('-');
  if (negative) number.remove_prefix(1);
  const std::size_t e = number.find_first_of("eE");
  Decimal decimal = read_digits(number.substr(0, e));
  if (e != number.npos) decimal.exponent += read_exponent(number.substr(e + 1));

  auto value = static_cast<double>(decimal.significand);
  while (decimal.exponent < -kMaxPower && value != 0) {
    value /= power_of_ten(kMaxPower);
    decimal.exponent += kMaxPower;
  }
  if (value != 0) {
    if (decimal.exponent > kMaxPower) return std::nullopt;
    if (decimal.exponent >= 0) {
      value *= power_of_ten(decimal.exponent);
    } else {
      value /= power_of_ten(-decimal.exponent);
    }
  }
  if (!std::isfinite(value)) return std::nullopt;
  return negative ? -value : value;
}

}  // namespace shoehorn::text
