#include "base/huge_pages.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/host_buffer.h"

namespace shoehorn {
namespace {

constexpr std::size_t kPage = 4096;

/// Pages of [data, data + bytes) that are in memory; data begins one.
std::size_t pages_there(std::byte* data, std::size_t bytes) {
  std::vector<unsigned char> there(bytes / kPage);
  EXPECT_EQ(::mincore(data, bytes, there.data()), 0);
  return static_cast<std::size_t>(
      std::ranges::count_if(there, [](unsigned char page) { return (page & 1U) != 0; }));
}

TEST(PopulatePages, PutsPagesUnderFreshMemory) {
  HostBuffer memory(64 * kPage);  // too small for huge pages
  ASSERT_EQ(pages_there(memory.data(), memory.size()), 0U);
  if (!populate_pages(memory.data() + kPage + 5, 2 * kPage)) GTEST_SKIP() << "not on this system";
  EXPECT_EQ(pages_there(memory.data(), memory.size()), 3U);  // that the bytes touch
}

TEST(PopulatePages, LeavesWhatThePagesHold) {
  HostBuffer memory(64 * kPage);
  std::ranges::fill(memory.bytes(), std::byte{7});
  populate_pages(memory.data(), memory.size());
  EXPECT_TRUE(std::ranges::all_of(memory.bytes(), [](std::byte b) { return b == std::byte{7}; }));
}

TEST(PopulatePages, IsFalseWhereThereIsNoMemory) {
  HostBuffer memory(64 * kPage);
  ASSERT_EQ(::mprotect(memory.data(), kPage, PROT_READ), 0);
  EXPECT_FALSE(populate_pages(memory.data(), memory.size()));
  ASSERT_EQ(::mprotect(memory.data(), kPage, PROT_READ | PROT_WRITE), 0);
}

}  // namespace
}  // namespace shoehorn
