#include "base/checksum.h"

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

std::vector<std::byte> counted(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
  return bytes;
}

TEST(Checksum, AnyBitChangesIt) {
  for (const std::size_t size : {1U, 7U, 8U, 63U, 64U, 65U, 200U}) {
    std::vector<std::byte> bytes = counted(size);
    const std::uint64_t before = checksum(bytes);
    for (std::size_t bit = 0; bit < 8 * size; ++bit) {
      bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      EXPECT_NE(checksum(bytes), before) << size << " bytes, bit " << bit;
      bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    }
    EXPECT_EQ(checksum(bytes), before);
  }
}

TEST(Checksum, ZerosMoreOrLessChangeIt) {
  std::set<std::uint64_t> seen;
  for (std::size_t size = 0; size < 300; ++size) {
    EXPECT_TRUE(seen.insert(checksum(std::vector<std::byte>(size))).second) << size;
  }
}

TEST(Checksum, BlocksInAnotherOrderChangeIt) {
  std::vector<std::byte> bytes = counted(256);
  const std::uint64_t before = checksum(bytes);
  std::swap_ranges(bytes.begin(), bytes.begin() + 64, bytes.begin() + 64);
  EXPECT_NE(checksum(bytes), before);
}

TEST(Checksum, DoesNotDependOnAlignment) {
  const std::vector<std::byte> bytes = counted(200);
  std::vector<std::byte> shifted(201);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  EXPECT_EQ(checksum(bytes), checksum(std::span(shifted).subspan(1)));
}

}  // namespace
}  // namespace shoehorn
