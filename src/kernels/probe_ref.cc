// The probes without vector extensions beyond x86-64's own: eight-byte loads; multiplies and adds
// of four floats, which the compiler makes SSE of.
#include <array>
#include <cstring>

#include "base/byte_order.h"
#include "kernels/probe_paths.h"

namespace shoehorn::ref {

std::uint64_t read_bytes(const std::byte* bytes, std::size_t count) {
  std::uint64_t sums[8] = {};
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    for (std::size_t j = 0; j < 8; ++j) sums[j] += read_le<std::uint64_t>(bytes + i + 8 * j);
  }
  std::uint64_t sum = 0;
  for (; i < count; ++i) sum += std::to_integer<std::uint64_t>(bytes[i]);
  for (const std::uint64_t part : sums) sum += part;
  return sum;
}

float multiply_adds(std::int64_t turns) {
  constexpr std::size_t kValues = kFlops.chains * kFlops.lanes;
  std::array<float, kValues> sums;
  // Chains that start alike would be computed once: the compiler sees that they stay alike.
  for (std::size_t i = 0; i < kValues; ++i) sums[i] = 1.0F + 1e-5F * static_cast<float>(i);
  for (std::int64_t turn = 0; turn < turns; ++turn) {
    for (float& sum : sums) sum = sum * 0.999F + 0.001F;
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

}  // namespace shoehorn::ref
