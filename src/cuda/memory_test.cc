// Copies and recordings on cards. Skipped out loud where there is none.
#include "cuda/memory.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "cuda/graph.h"

namespace shoehorn::cuda {
namespace {

class CardMemories : public testing::Test {
 protected:
  void SetUp() override {
    if (find_cards().cards.empty()) GTEST_SKIP() << "no CUDA card: " << find_cards().why_none;
  }
  static int card(std::size_t i) { return find_cards().cards.at(i).ordinal; }
};

std::vector<unsigned char> pattern(std::size_t bytes, unsigned seed) {
  std::vector<unsigned char> values(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    values[i] = static_cast<unsigned char>(i * 37 + i / 251 + seed);
  }
  return values;
}

std::vector<unsigned char> bytes_of(const Queue& queue, const CardMemory& memory) {
  std::vector<unsigned char> bytes(memory.size());
  download(queue, bytes.data(), memory.data(), bytes.size());
  return bytes;
}

TEST_F(CardMemories, AreZero) {
  const Queue queue(card(0));
  EXPECT_EQ(bytes_of(queue, CardMemory(card(0), 70'001)), std::vector<unsigned char>(70'001));
}

TEST_F(CardMemories, KeepWhatIsCopiedThere) {
  const Queue queue(card(0));
  const auto from = pattern(100'003, 1);
  const CardMemory memory(card(0), from.size());
  upload(queue, memory.data(), from.data(), from.size());
  EXPECT_EQ(bytes_of(queue, memory), from);
}

// Both ways: straight, and through the host where that arrives wrong.
TEST_F(CardMemories, AreCopiedBetweenCards) {
  if (find_cards().cards.size() < 2) GTEST_SKIP() << "one card";
  const Queue first(card(0));
  const Queue second(card(1));
  for (const bool is_there : {true, false}) {
    const Queue& from = is_there ? first : second;
    const Queue& to = is_there ? second : first;
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{3'000'001}}) {
      const auto values = pattern(bytes, 2);
      const CardMemory source(from.ordinal(), bytes);
      const CardMemory target(to.ordinal(), bytes);
      upload(from, source.data(), values.data(), bytes);
      copy_between(to, target.data(), from, source.data(), bytes);
      EXPECT_EQ(bytes_of(to, target), values) << bytes << " bytes to card " << to.ordinal();
    }
  }
}

// The host waits for nothing: what a queue copies from another's memory was written there, and is
// not overwritten before.
TEST_F(CardMemories, CopiesKeepTheOrderOfBothQueues) {
  const Queue first(card(0));
  const Queue neighbour(card(0));
  std::vector<const Queue*> others = {&neighbour};
  std::optional<Queue> far;
  if (find_cards().cards.size() > 1) others.push_back(&far.emplace(card(1)));
  constexpr std::size_t kBytes = 100'000;
  for (const Queue* const other : others) {
    const CardMemory source(first.ordinal(), kBytes);
    const CardMemory target(other->ordinal(), kBytes);
    for (unsigned char value = 1; value < 5; ++value) {
      fill_async(first, source.data(), value, kBytes);
      copy_between(*other, target.data(), first, source.data(), kBytes);
      fill_async(first, source.data(), 99, kBytes);
      first.synchronize();
      EXPECT_EQ(bytes_of(*other, target), std::vector<unsigned char>(kBytes, value));
      // And back.
      fill_async(*other, target.data(), static_cast<unsigned char>(value + 100), kBytes);
      copy_between(first, source.data(), *other, target.data(), kBytes);
      fill_async(*other, target.data(), 98, kBytes);
      other->synchronize();
      EXPECT_EQ(bytes_of(first, source),
                std::vector<unsigned char>(kBytes, static_cast<unsigned char>(value + 100)));
    }
  }
}

TEST_F(CardMemories, RunsKeepTheirStrides) {
  const Queue queue(card(0));
  const auto from = pattern(5 * 20, 3);
  const CardMemory memory(card(0), 5 * 16);
  copy_runs_async(queue, memory.data(), from.data(),
                  {.run_bytes = 7, .count = 5, .to_stride = 16, .from_stride = 20});
  std::vector<unsigned char> expected(memory.size());
  for (std::size_t i = 0; i < 5; ++i) {
    std::memcpy(expected.data() + 16 * i, from.data() + 20 * i, 7);
  }
  EXPECT_EQ(bytes_of(queue, memory), expected);
}

TEST_F(CardMemories, ARecordingRunsWhenItIsLaunched) {
  Queue queue(card(0));
  const CardMemory memory(card(0), 64);
  PinnedMemory host(64);
  const auto first = pattern(64, 4);
  const auto second = pattern(64, 5);
  std::memcpy(host.data(), first.data(), 64);
  const Graph graph(queue, [&] { copy_async(queue, memory.data(), host.data(), 64); });
  EXPECT_EQ(bytes_of(queue, memory), std::vector<unsigned char>(64));
  std::memcpy(host.data(), second.data(), 64);
  graph.launch(queue);
  EXPECT_EQ(bytes_of(queue, memory), second);
}

TEST_F(CardMemories, ARecordingThatFailsLeavesItsQueueUsable) {
  Queue queue(card(0));
  const CardMemory memory(card(0), 64);
  EXPECT_THROW(Graph(queue, [] { throw std::runtime_error("no"); }), std::runtime_error);
  fill_async(queue, memory.data(), 9, 64);
  EXPECT_EQ(bytes_of(queue, memory), std::vector<unsigned char>(64, 9));
}

TEST_F(CardMemories, SayWhatIsFreeWhereThereIsNoRoom) {
  const std::size_t bytes = find_cards().cards.front().memory_bytes + 1;
  try {
    CardMemory(card(0), bytes);
    FAIL() << "more than the card has";
  } catch (const DeviceError& error) {
    EXPECT_NE(std::string(error.what()).find(std::to_string(bytes)), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("are free"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace shoehorn::cuda
