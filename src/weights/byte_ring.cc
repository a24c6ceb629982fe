#include "weights/byte_ring.h"

#include <algorithm>

namespace shoehorn {
namespace {

std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t to) {
  return (bytes + to - 1) / to * to;
}

}  // namespace

ByteRing::ByteRing(std::size_t bytes) : size_(rounded_up(bytes, kIoAlignment)) {}

std::size_t ByteRing::bytes_of(std::span<const RingChunk> group) {
  std::uint64_t end = 0;
  for (const RingChunk& chunk : group) {
    if (!chunk.follows) end = rounded_up(end, kIoAlignment) + chunk.phase;
    end += chunk.bytes;
  }
  return rounded_up(end, kIoAlignment);
}

std::uint64_t ByteRing::next_position(const RingChunk& chunk) const {
  const std::uint64_t at = chunk.follows ? head_ : rounded_up(head_, kIoAlignment) + chunk.phase;
  if (at % size_ + chunk.bytes <= size_) return at;
  return rounded_up(at, size_) + chunk.phase;
}

std::uint64_t ByteRing::begin_group(std::span<const RingChunk> group) {
  // A group owns its first block: what shares it in the file may be freed before.
  head_ = rounded_up(head_, kIoAlignment);
  ByteRing ahead = *this;
  for (const RingChunk& chunk : group) ahead.head_ = ahead.next_position(chunk) + chunk.bytes;
  if (rounded_up(ahead.head_, kIoAlignment) - head_ > size_) head_ = rounded_up(head_, size_);
  return head_;
}

std::optional<std::size_t> ByteRing::place(const RingChunk& chunk) {
  const std::uint64_t at = next_position(chunk);
  const std::uint64_t end = at + chunk.bytes;
  if (rounded_up(end, kIoAlignment) > tail_ + size_) return std::nullopt;
  head_ = end;
  return static_cast<std::size_t>(at % size_);
}

void ByteRing::free_until(std::uint64_t position) {
  tail_ = std::max(tail_, position);
}

}  // namespace shoehorn
