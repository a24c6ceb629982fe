// The probes with vectors of 64 bytes.
#include <immintrin.h>

#include "kernels/probe_paths.h"

namespace shoehorn::avx512 {

std::uint64_t read_bytes(const std::byte* bytes, std::size_t count) {
  __m512i sums[4];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  std::size_t i = 0;
  for (; i + 256 <= count; i += 256) {
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) {
      sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(bytes + i + 64 * j));
    }
  }
  for (int j = 1; j < 4; ++j) sums[0] = _mm512_add_epi64(sums[0], sums[j]);
  auto sum = static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sums[0]));
  for (; i < count; ++i) sum += static_cast<std::uint64_t>(bytes[i]);
  return sum;
}

float multiply_adds(std::int64_t turns) {
  constexpr int kChains = kFlops.chains;
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_set1_ps(1.0F);
  const __m512 factor = _mm512_set1_ps(0.999F);
  const __m512 term = _mm512_set1_ps(0.001F);
  for (std::int64_t turn = 0; turn < turns; ++turn) {
#pragma GCC unroll 16
    for (int chain = 0; chain < kChains; ++chain) {
      sums[chain] = _mm512_fmadd_ps(sums[chain], factor, term);
    }
  }
  for (int chain = 1; chain < kChains; ++chain) sums[0] = _mm512_add_ps(sums[0], sums[chain]);
  return _mm512_reduce_add_ps(sums[0]);
}

}  // namespace shoehorn::avx512
