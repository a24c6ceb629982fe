// Arithmetic on numbers that came from a file: overflow is an answer, never a wrapped value.
#pragma once

#include <optional>

namespace shoehorn {

/// a * b, or nothing if the product does not fit T.
template <typename T>
constexpr std::optional<T> checked_mul(T a, T b) {
  T result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

/// a + b, or nothing if the sum does not fit T.
template <typename T>
constexpr std::optional<T> checked_add(T a, T b) {
  T result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

}  // namespace shoehorn
