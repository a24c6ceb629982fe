// The loops of the probes, by instruction set. Each returns something that depends on all it did.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoehorn {

/// Independent chains of multiply-adds, and the values in a vector, of each set's flops loop.
struct FlopsShape {
  std::int64_t chains;
  std::int64_t lanes;
};

namespace ref {
std::uint64_t read_bytes(const std::byte* bytes, std::size_t count);
float multiply_adds(std::int64_t turns);
inline constexpr FlopsShape kFlops = {8, 4};
}  // namespace ref
namespace avx2 {
std::uint64_t read_bytes(const std::byte* bytes, std::size_t count);
float multiply_adds(std::int64_t turns);
inline constexpr FlopsShape kFlops = {12, 8};
}  // namespace avx2
namespace avx512 {
std::uint64_t read_bytes(const std::byte* bytes, std::size_t count);
float multiply_adds(std::int64_t turns);
inline constexpr FlopsShape kFlops = {16, 16};
}  // namespace avx512

}  // namespace shoehorn
