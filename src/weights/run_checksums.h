// Did a run of a file hold the same bytes every time it was read?
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace shoehorn {

/// A checksum of 64 bits, eight words of 8 bytes at a time: a single word that changed always
/// changes it, and it takes a small part of the time that a drive takes for the bytes. Finds
/// accidents, not intent.
std::uint64_t checksum_of(std::span<const std::byte> bytes);

/// Not thread-safe.
class RunChecksums {
 public:
  /// True if run number `run` has the checksum it had the first time it was asked about.
  bool check(std::size_t run, std::span<const std::byte> bytes);

 private:
  std::vector<std::optional<std::uint64_t>> sums_;
};

}  // namespace shoehorn
