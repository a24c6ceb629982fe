// Where in a ring of bytes the next run comes to lie: positions count up for ever, the run at
// position p lies at p modulo the ring's size and never across its end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/async_reader.h"

namespace shoehorn {

/// What the ring places as one run.
struct RingChunk {
  std::size_t bytes = 0;
  /// The run begins so far behind a multiple of kIoAlignment: as its bytes do in their file.
  std::size_t phase = 0;
  /// Its bytes follow those of the chunk before it in the same file: the two are one run if the
  /// ring's end does not come between.
  bool follows = false;
};

/// A value: a copy shows where things would come to lie. Groups of chunks are freed in the order
/// in which they were placed. Reads are widened to kIoAlignment, so blocks of that size at both
/// ends of a run are its own.
class ByteRing {
 public:
  /// `bytes` is rounded up to kIoAlignment.
  explicit ByteRing(std::size_t bytes = 0);

  std::size_t size() const { return size_; }
  /// Where what was placed last ends.
  std::uint64_t head() const { return head_; }

  /// Bytes that a group takes in an empty ring.
  static std::size_t bytes_of(std::span<const RingChunk> group);

  /// Begins a group that fits an empty ring: moves to the ring's start where the group would
  /// otherwise wait for its own beginning to be freed. Returns its position.
  std::uint64_t begin_group(std::span<const RingChunk> group);
  /// Offset in the ring of the group's next chunk; nothing where that is not free yet.
  std::optional<std::size_t> place(const RingChunk& chunk);
  /// Everything before `position` is free.
  void free_until(std::uint64_t position);
  /// What was placed from `position` on is forgotten.
  void rewind(std::uint64_t position) { head_ = position; }

 private:
  std::uint64_t next_position(const RingChunk& chunk) const;

  std::size_t size_;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
};

}  // namespace shoehorn
