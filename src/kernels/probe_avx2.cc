// The probes with vectors of 32 bytes.
#include <immintrin.h>

#include "kernels/probe_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {

std::uint64_t read_bytes(const std::byte* bytes, std::size_t count) {
  __m256i sums[8];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  std::size_t i = 0;
  for (; i + 256 <= count; i += 256) {
#pragma GCC unroll 8
    for (std::size_t j = 0; j < 8; ++j) {
      const auto* const from = reinterpret_cast<const __m256i*>(bytes + i + 32 * j);
      sums[j] = _mm256_add_epi64(sums[j], _mm256_loadu_si256(from));
    }
  }
  for (int j = 1; j < 8; ++j) sums[0] = _mm256_add_epi64(sums[0], sums[j]);
  alignas(32) std::uint64_t parts[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(parts), sums[0]);
  std::uint64_t sum = parts[0] + parts[1] + parts[2] + parts[3];
  for (; i < count; ++i) sum += static_cast<std::uint64_t>(bytes[i]);
  return sum;
}

float multiply_adds(std::int64_t turns) {
  constexpr int kChains = kFlops.chains;
  __m256 sums[kChains];
  for (__m256& sum : sums) sum = _mm256_set1_ps(1.0F);
  const __m256 factor = _mm256_set1_ps(0.999F);
  const __m256 term = _mm256_set1_ps(0.001F);
  for (std::int64_t turn = 0; turn < turns; ++turn) {
#pragma GCC unroll 16
    for (int chain = 0; chain < kChains; ++chain) {
      sums[chain] = _mm256_fmadd_ps(sums[chain], factor, term);
    }
  }
  for (int chain = 1; chain < kChains; ++chain) sums[0] = _mm256_add_ps(sums[0], sums[chain]);
  return reduce_add(sums[0]);
}

}  // namespace shoehorn::avx2
