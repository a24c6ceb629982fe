// A loading thread's way to memory of cards: page-locked scratch that it fills, and a queue of its
// own.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "cuda/memory.h"
#include "cuda/queue.h"

namespace shoehorn {

/// Not thread-safe: one a thread. Opens nothing until a card is named.
class UploadLane {
 public:
  /// Page-locked scratch of `bytes`, valid until the next call.
  std::span<std::byte> scratch(int card, std::size_t bytes) {
    if (queue_ == nullptr || queue_->ordinal() != card)
      queue_ = std::make_unique<cuda::Queue>(card);
    if (memory_.size() < bytes) {
      memory_ = {};
      memory_ = cuda::PinnedMemory(bytes);
    }
    return memory_.bytes().first(bytes);
  }

  /// Copies `from` (any host memory) to the card named last, and waits.
  void put(int card, std::byte* to, std::span<const std::byte> from) {
    if (queue_ == nullptr || queue_->ordinal() != card)
      queue_ = std::make_unique<cuda::Queue>(card);
    cuda::upload(*queue_, to, from.data(), from.size());
  }

 private:
  std::unique_ptr<cuda::Queue> queue_;
  cuda::PinnedMemory memory_;
};

}  // namespace shoehorn
