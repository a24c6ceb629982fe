// For the tests of kernels on a CUDA device: a card with a workspace, and arrays on it whose
// surroundings are watched. A machine without a card skips these tests out loud.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/card.h"
#include "cuda/memory.h"
#include "cuda/queue.h"
#include "kernels/exec_context.h"

namespace shoehorn::cuda_test {

/// Test suites of kernels derive from this: TEST_F(RmsNormCuda, ...).
class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    const cuda::Cards& found = cuda::find_cards();
    if (found.cards.empty()) GTEST_SKIP() << "no CUDA card: " << found.why_none;
  }
};

/// Whether cards are made of host memory (src/cuda/emulated), some thousand times as slow as real
/// ones.
inline bool are_emulated() {
  return cuda::find_cards().cards.front().name == "emulated card";
}

/// Whether to try the next of many alike cases: each on a card, one in `of` where cards are
/// emulated, or each there too with SHOEHORN_EVERY_CASE=1.
inline bool is_chosen(int of) {
  static const bool is_every = !are_emulated() || std::getenv("SHOEHORN_EVERY_CASE") != nullptr;
  static int next = 0;
  return is_every || next++ % of == 0;
}

/// `count` Ts on a card, `offset` elements behind a 256-byte boundary, between guards that a kernel
/// must leave as they are.
template <typename T>
class CardArray {
 public:
  CardArray(const cuda::Queue& queue, std::size_t count, std::size_t offset = 0)
      : count_(count),
        start_(kGuardBytes + offset * sizeof(T)),
        memory_(queue.ordinal(), start_ + count * sizeof(T) + kGuardBytes) {
    cuda::fill_async(queue, memory_.data(), kGuard, memory_.size());
  }

  /// An address of the card.
  T* data() const { return reinterpret_cast<T*>(memory_.data() + start_); }
  std::size_t size() const { return count_; }
  std::span<T> span() const { return {data(), count_}; }
  // NOLINTNEXTLINE(google-explicit-constructor): stands where an operation takes a span
  operator std::span<T>() const { return span(); }
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator std::span<const T>() const { return span(); }

  /// Waits for the queue. Fails the test where something was written outside.
  std::vector<T> download(const cuda::Queue& queue) const {
    std::vector<unsigned char> all(memory_.size());
    cuda::download(queue, all.data(), memory_.data(), all.size());
    const std::size_t end = start_ + count_ * sizeof(T);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if ((i < start_ || i >= end) && all[i] != kGuard) {
        ADD_FAILURE() << "byte " << static_cast<std::int64_t>(i) - static_cast<std::int64_t>(start_)
                      << " of an array of " << count_ * sizeof(T) << " was written";
        break;
      }
    }
    std::vector<T> values(count_);
    if (count_ > 0) std::memcpy(values.data(), all.data() + start_, count_ * sizeof(T));
    return values;
  }

 private:
  static constexpr std::size_t kGuardBytes = 256;
  static constexpr unsigned char kGuard = 0xAB;

  std::size_t count_;
  std::size_t start_;
  cuda::CardMemory memory_;
};

/// A queue of the first card, a workspace there and the context over them.
class CudaMachine {
 public:
  explicit CudaMachine(std::size_t workspace_bytes = std::size_t{256} << 20)
      : queue_(cuda::find_cards().cards.at(0).ordinal),
        pool_(1),
        memory_(queue_.ordinal(), workspace_bytes),
        workspace_(std::span<std::byte>(memory_.data(), memory_.size())),
        context_{pool_, Isa::kRef, workspace_, &queue_} {}

  ExecContext& context() { return context_; }
  cuda::Queue& queue() { return queue_; }

  /// An array of `count` Ts whose bytes are all 0xAB: as float32 and bfloat16 a small negative
  /// number that no test expects.
  template <typename T>
  CardArray<T> make(std::size_t count, std::size_t offset = 0) {
    return CardArray<T>(queue_, count, offset);
  }

  template <typename T>
  CardArray<T> upload(std::span<const T> values, std::size_t offset = 0) {
    CardArray<T> array(queue_, values.size(), offset);
    cuda::upload(queue_, array.data(), values.data(), values.size_bytes());
    return array;
  }
  template <typename T>
  CardArray<T> upload(const std::vector<T>& values, std::size_t offset = 0) {
    return upload(std::span<const T>(values), offset);
  }

  template <typename T>
  std::vector<T> download(const CardArray<T>& array) {
    return array.download(queue_);
  }

 private:
  cuda::Queue queue_;
  ThreadPool pool_;
  cuda::CardMemory memory_;
  Workspace workspace_;
  ExecContext context_;
};

}  // namespace shoehorn::cuda_test
