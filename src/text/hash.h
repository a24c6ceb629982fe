// Hashes for the tables of this folder: fast and well mixed, not secret.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace shoehorn::text {

/// Multiplies to 128 bits and folds them.
inline std::uint64_t fold_multiply(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t hash_bytes(std::string_view bytes) {
  constexpr std::uint64_t kA = 0x9E3779B97F4A7C15ULL;
  constexpr std::uint64_t kB = 0xD6E8FEB86659FD93ULL;
  const char* p = bytes.data();
  std::size_t n = bytes.size();
  std::uint64_t h = kB ^ n;
  for (; n >= 8; p += 8, n -= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    h = fold_multiply(h ^ word, kA);
  }
  std::uint64_t tail = 0;
  if (n >= 4) {
    std::uint32_t low;
    std::uint32_t high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + n - 4, 4);
    tail = static_cast<std::uint64_t>(high) << 32 | low;
  } else if (n > 0) {
    const auto byte = [p](std::size_t i) {
      return static_cast<std::uint64_t>(static_cast<unsigned char>(p[i]));
    };
    tail = byte(0) | byte(n / 2) << 8 | byte(n - 1) << 16;
  }
  return fold_multiply(h ^ tail, kB);
}

inline std::uint64_t hash_pair(std::uint32_t left, std::uint32_t right) {
  return fold_multiply(static_cast<std::uint64_t>(left) << 32 | right, 0x9E3779B97F4A7C15ULL);
}

}  // namespace shoehorn::text
