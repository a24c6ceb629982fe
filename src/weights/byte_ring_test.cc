#include "weights/byte_ring.h"

#include <deque>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

constexpr std::size_t kBlock = kIoAlignment;

TEST(ByteRing, AChunkLiesAtItsPhase) {
  ByteRing ring(8 * kBlock);
  const std::vector<RingChunk> group = {{.bytes = 100, .phase = 24}, {.bytes = 50, .phase = 8}};
  ring.begin_group(group);
  EXPECT_EQ(ring.place(group[0]), 24U);
  EXPECT_EQ(ring.place(group[1]), kBlock + 8);
  EXPECT_EQ(ByteRing::bytes_of(group), 2 * kBlock);
}

TEST(ByteRing, AChunkThatFollowsInTheFileFollowsInMemory) {
  ByteRing ring(8 * kBlock);
  const std::vector<RingChunk> group = {{.bytes = 100, .phase = 24},
                                        {.bytes = 50, .phase = 124, .follows = true}};
  ring.begin_group(group);
  EXPECT_EQ(ring.place(group[0]), 24U);
  EXPECT_EQ(ring.place(group[1]), 124U);
}

TEST(ByteRing, WaitsUntilTheOldestGroupIsFree) {
  ByteRing ring(2 * kBlock);
  const std::vector<RingChunk> group = {{.bytes = kBlock}};
  ring.begin_group(group);
  EXPECT_TRUE(ring.place(group[0]));
  const auto second = ring.begin_group(group);
  EXPECT_TRUE(ring.place(group[0]));
  const auto third = ring.begin_group(group);
  EXPECT_FALSE(ring.place(group[0]));
  ring.free_until(second);
  EXPECT_EQ(ring.place(group[0]), 0U);
  ring.free_until(third);
}

TEST(ByteRing, AGroupThatWouldWaitForItselfBeginsAtTheStart) {
  ByteRing ring(4 * kBlock);
  const std::vector<RingChunk> small = {{.bytes = kBlock}};
  ring.begin_group(small);
  ring.place(small[0]);
  // At block 1 the second chunk would have to wrap onto the first.
  const std::vector<RingChunk> large = {{.bytes = 2 * kBlock}, {.bytes = 2 * kBlock}};
  const auto begin = ring.begin_group(large);
  EXPECT_FALSE(ring.place(large[0]));
  ring.free_until(begin);
  EXPECT_EQ(ring.place(large[0]), 0U);
  EXPECT_EQ(ring.place(large[1]), 2 * kBlock);
}

// Random groups through rings of any size from the largest group on: no block that a group may
// still use is given away, and with everything before it freed every group finds its place.
TEST(ByteRing, NeverOverlapsAndNeverJams) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::vector<RingChunk>> groups(1 + random() % 5);
    std::size_t largest = 0;
    for (auto& group : groups) {
      for (std::size_t i = 0, n = 1 + random() % 6; i < n; ++i) {
        const bool follows = i > 0 && random() % 2 == 0;
        const std::size_t phase =
            follows ? (group.back().phase + group.back().bytes) % kBlock : random() % kBlock;
        group.push_back({.bytes = 1 + random() % (5 * kBlock), .phase = phase, .follows = follows});
      }
      largest = std::max(largest, ByteRing::bytes_of(group));
    }
    ByteRing ring(largest + random() % (3 * kBlock) + (random() % 2) * random() % (8 * largest));
    std::vector<int> owner(ring.size() / kBlock, -1);
    struct Held {
      int number;
      std::uint64_t begin;
    };
    std::deque<Held> held;
    for (int number = 0; number < 60; ++number) {
      const auto& group = groups[static_cast<std::size_t>(number) % groups.size()];
      const auto begin = ring.begin_group(group);
      if (held.empty()) ring.free_until(begin);
      held.push_back({number, begin});
      for (const RingChunk& chunk : group) {
        auto at = ring.place(chunk);
        while (!at) {
          ASSERT_GT(held.size(), 1U) << "a group waits for itself";
          for (int& block : owner) block = block == held.front().number ? -1 : block;
          held.pop_front();
          ring.free_until(held.front().begin);
          at = ring.place(chunk);
        }
        ASSERT_EQ(*at % kBlock, chunk.phase);
        ASSERT_LE(*at + chunk.bytes, ring.size());
        for (std::size_t b = *at / kBlock; b <= (*at + chunk.bytes - 1) / kBlock; ++b) {
          ASSERT_TRUE(owner[b] == -1 || owner[b] == number);
          owner[b] = number;
        }
      }
    }
  }
}

}  // namespace
}  // namespace shoehorn
