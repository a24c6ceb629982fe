// Hashes for the tables of this folder: fast, well mixed, and of another seed in every process, so
// that no file can be made whose tokens all meet in one slot.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace shoehorn::text {

struct HashSeed {
  std::uint64_t flip;
  std::uint64_t factor;
};
extern const HashSeed kHashSeed;

/// Multiplies to 128 bits and folds them.
inline std::uint64_t fold_multiply(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t hash_bytes(std::string_view bytes) {
  const HashSeed seed = kHashSeed;
  const char* p = bytes.data();
  std::size_t n = bytes.size();
  std::uint64_t h = seed.flip ^ n;
  for (; n >= 8; p += 8, n -= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    h = fold_multiply(h ^ word, seed.factor);
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
  return fold_multiply(h ^ tail, seed.factor ^ 0xD6E8FEB86659FD92ULL);
}

inline std::uint64_t hash_pair(std::uint32_t left, std::uint32_t right) {
  const std::uint64_t pair = static_cast<std::uint64_t>(left) << 32 | right;
  return fold_multiply(pair ^ kHashSeed.flip, kHashSeed.factor);
}

}  // namespace shoehorn::text
