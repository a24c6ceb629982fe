// The inner loops of attention, sixteen values at a time.
#include <cstdint>

#include <immintrin.h>
#include <math.h>

#include "kernels/attention_paths.h"
#include "kernels/vector_avx512.h"

namespace shoehorn::avx512 {
namespace {

constexpr std::int64_t kWide = 4 * kLanes;

std::int64_t at_most_lanes(std::int64_t count) {
  return count < kLanes ? count : kLanes;
}

void transpose_keys(const float* rows, std::int64_t count, std::int64_t size, float* out) {
  for (std::int64_t j0 = 0; j0 < kKeyBlock; j0 += kLanes) {
    for (std::int64_t i0 = 0; i0 < size; i0 += kLanes) {
      const std::int64_t columns = at_most_lanes(size - i0);
      const __mmask16 lanes = first_lanes(columns);
      __m512 block[16];
#pragma GCC unroll 16
      for (int j = 0; j < 16; ++j) {
        block[j] = j0 + j < count ? _mm512_maskz_loadu_ps(lanes, rows + (j0 + j) * size + i0)
                                  : _mm512_setzero_ps();
      }
      transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (i < columns) _mm512_storeu_ps(out + (i0 + i) * kKeyBlock + j0, block[i]);
      }
    }
  }
}

struct Operands {
  const float* a;
  std::int64_t lda;
  std::int64_t depth;
  const float* b;
  std::int64_t ldb;
  float* c;
  std::int64_t ldc;
  bool accumulate;
};

// M rows times V vectors of columns; only `lanes` of each vector are there.
template <int M, int V>
void multiply_tile(const Operands& op, std::int64_t row, std::int64_t column, __mmask16 lanes) {
  const float* const a = op.a + row * op.lda;
  const float* const b = op.b + column;
  float* const c = op.c + row * op.ldc + column;
  __m512 acc[M][V];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      acc[m][v] = op.accumulate ? _mm512_maskz_loadu_ps(lanes, c + m * op.ldc + v * kLanes)
                                : _mm512_setzero_ps();
    }
  }
  for (std::int64_t k = 0; k < op.depth; ++k) {
    __m512 columns[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      columns[v] = _mm512_maskz_loadu_ps(lanes, b + k * op.ldb + v * kLanes);
    }
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const __m512 value = _mm512_set1_ps(a[m * op.lda + k]);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) acc[m][v] = _mm512_fmadd_ps(value, columns[v], acc[m][v]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      _mm512_mask_storeu_ps(c + m * op.ldc + v * kLanes, lanes, acc[m][v]);
    }
  }
}

// How many of the rows that are left to take together: six use the registers best, but a last tile
// of one or two rows would wait for its own sums.
int tile_rows(std::int64_t left) {
  if (left >= 9 || left == 6) return 6;
  if (left == 5) return 3;
  return left > 4 ? 4 : static_cast<int>(left);
}

template <int V>
void multiply_columns(const Operands& op, std::int64_t rows, std::int64_t column, __mmask16 lanes) {
  std::int64_t row = 0;
  while (row < rows) {
    const int taken = tile_rows(rows - row);
    switch (taken) {
      case 6: multiply_tile<6, V>(op, row, column, lanes); break;
      case 4: multiply_tile<4, V>(op, row, column, lanes); break;
      case 3: multiply_tile<3, V>(op, row, column, lanes); break;
      case 2: multiply_tile<2, V>(op, row, column, lanes); break;
      default: multiply_tile<1, V>(op, row, column, lanes); break;
    }
    row += taken;
  }
}

void multiply(const float* a, std::int64_t lda, std::int64_t rows, std::int64_t depth,
              const float* b, std::int64_t ldb, std::int64_t columns, float* c, std::int64_t ldc,
              bool accumulate) {
  const Operands op{a, lda, depth, b, ldb, c, ldc, accumulate};
  std::int64_t column = 0;
  for (; column + kWide <= columns; column += kWide) {
    multiply_columns<4>(op, rows, column, first_lanes(kLanes));
  }
  for (; column < columns; column += kLanes) {
    multiply_columns<1>(op, rows, column, first_lanes(at_most_lanes(columns - column)));
  }
}

void soft_cap(float* scores, std::int64_t count, float cap) {
  // tanh z = 1 - 2 / (e^2z + 1); its error is absolute, a few units of the last place of `cap`.
  const __m512 one = _mm512_set1_ps(1.0F);
  const __m512 two = _mm512_set1_ps(2.0F);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 lanes = first_lanes(at_most_lanes(count - i));
    const __m512 z = _mm512_maskz_loadu_ps(lanes, scores + i);
    const __m512 e = exp(_mm512_mul_ps(z, _mm512_set1_ps(2.0F / cap)));
    const __m512 tanh = _mm512_sub_ps(one, _mm512_div_ps(two, _mm512_add_ps(e, one)));
    _mm512_mask_storeu_ps(scores + i, lanes, _mm512_mul_ps(tanh, _mm512_set1_ps(cap)));
  }
}

float softmax_step(float* scores, std::int64_t begin, std::int64_t end, float* max, float* sum) {
  // Bits of the keys that are seen.
  const std::uint64_t below_end =
      end == kKeyBlock ? ~std::uint64_t{0} : (std::uint64_t{1} << end) - 1;
  const std::uint64_t seen = begin == kKeyBlock ? 0 : below_end >> begin << begin;
  __m512 most = _mm512_set1_ps(*max);
  for (std::int64_t i = 0; i < kKeyBlock; i += kLanes) {
    const auto lanes = static_cast<__mmask16>(seen >> i);
    most = _mm512_mask_max_ps(most, lanes, most, _mm512_loadu_ps(scores + i));
  }
  const float new_max = _mm512_reduce_max_ps(most);
  __m512 total = _mm512_setzero_ps();
  for (std::int64_t i = 0; i < kKeyBlock; i += kLanes) {
    const auto lanes = static_cast<__mmask16>(seen >> i);
    const __m512 relative = _mm512_sub_ps(_mm512_loadu_ps(scores + i), _mm512_set1_ps(new_max));
    const __m512 p = _mm512_maskz_mov_ps(lanes, exp(relative));
    _mm512_storeu_ps(scores + i, p);
    total = _mm512_add_ps(total, p);
  }
  if (seen == 0) return 1.0F;
  const float factor = *max == new_max ? 1.0F : ::expf(*max - new_max);
  *max = new_max;
  *sum = *sum * factor + _mm512_reduce_add_ps(total);
  return factor;
}

void rescale(float* row, std::int64_t size, float factor) {
  for (std::int64_t i = 0; i < size; i += kLanes) {
    const __mmask16 lanes = first_lanes(at_most_lanes(size - i));
    const __m512 v = _mm512_maskz_loadu_ps(lanes, row + i);
    _mm512_mask_storeu_ps(row + i, lanes, _mm512_mul_ps(v, _mm512_set1_ps(factor)));
  }
}

}  // namespace

const AttentionPath kAttention = {.transpose = transpose_keys,
                                  .multiply = multiply,
                                  .soft_cap = soft_cap,
                                  .softmax_step = softmax_step,
                                  .rescale = rescale};

}  // namespace shoehorn::avx512
