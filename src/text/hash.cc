#include "text/hash.h"

#include <exception>
#include <random>

namespace shoehorn::text {
namespace {

HashSeed make_seed() {
  try {
    std::random_device random;
    const auto next = [&random] { return std::uint64_t{random()} << 32 | random(); };
    const std::uint64_t flip = next();
    return {.flip = flip, .factor = next() | 1};
  } catch (const std::exception&) {
    return {.flip = 0xD6E8FEB86659FD93ULL, .factor = 0x9E3779B97F4A7C15ULL};
  }
}

}  // namespace

const HashSeed kHashSeed = make_seed();

}  // namespace shoehorn::text
