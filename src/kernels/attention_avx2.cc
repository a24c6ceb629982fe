// The inner loops of attention, eight values at a time.
#include <cstdint>

#include <immintrin.h>
#include <math.h>

#include "kernels/attention_paths.h"
#include "kernels/vector_avx2.h"

namespace shoehorn::avx2 {
namespace {

constexpr std::int64_t kWide = 2 * kLanes;

std::int64_t at_most_lanes(std::int64_t count) {
  return count < kLanes ? count : kLanes;
}

void transpose_keys(const float* rows, std::int64_t count, std::int64_t size, float* out) {
  for (std::int64_t j0 = 0; j0 < kKeyBlock; j0 += kLanes) {
    for (std::int64_t i0 = 0; i0 < size; i0 += kLanes) {
      const std::int64_t columns = at_most_lanes(size - i0);
      const __m256i lanes = first_lanes(columns);
      __m256 block[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        block[j] = j0 + j < count ? _mm256_maskload_ps(rows + (j0 + j) * size + i0, lanes)
                                  : _mm256_setzero_ps();
      }
      transpose(block);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) {
        if (i < columns) _mm256_storeu_ps(out + (i0 + i) * kKeyBlock + j0, block[i]);
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

// M rows times V whole vectors of columns.
template <int M, int V>
void multiply_tile(const Operands& op, std::int64_t row, std::int64_t column) {
  const float* const a = op.a + row * op.lda;
  const float* const b = op.b + column;
  float* const c = op.c + row * op.ldc + column;
  __m256 acc[M][V];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      acc[m][v] =
          op.accumulate ? _mm256_loadu_ps(c + m * op.ldc + v * kLanes) : _mm256_setzero_ps();
    }
  }
  for (std::int64_t k = 0; k < op.depth; ++k) {
    __m256 columns[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) columns[v] = _mm256_loadu_ps(b + k * op.ldb + v * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const __m256 value = _mm256_set1_ps(a[m * op.lda + k]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) acc[m][v] = _mm256_fmadd_ps(value, columns[v], acc[m][v]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) _mm256_storeu_ps(c + m * op.ldc + v * kLanes, acc[m][v]);
  }
}

// One row times the last, partial vector of columns.
void multiply_last(const Operands& op, std::int64_t row, std::int64_t column, __m256i lanes) {
  float* const c = op.c + row * op.ldc + column;
  __m256 acc = op.accumulate ? _mm256_maskload_ps(c, lanes) : _mm256_setzero_ps();
  for (std::int64_t k = 0; k < op.depth; ++k) {
    const __m256 columns = _mm256_maskload_ps(op.b + k * op.ldb + column, lanes);
    acc = _mm256_fmadd_ps(_mm256_set1_ps(op.a[row * op.lda + k]), columns, acc);
  }
  _mm256_maskstore_ps(c, lanes, acc);
}

// How many of the rows that are left to take together: six use the registers best, but a last tile
// of one or two rows would wait for its own sums.
int tile_rows(std::int64_t left) {
  if (left >= 9 || left == 6) return 6;
  if (left == 5) return 3;
  return left > 4 ? 4 : static_cast<int>(left);
}

template <int V>
void multiply_columns(const Operands& op, std::int64_t rows, std::int64_t column) {
  std::int64_t row = 0;
  while (row < rows) {
    const int taken = tile_rows(rows - row);
    switch (taken) {
      case 6: multiply_tile<6, V>(op, row, column); break;
      case 4: multiply_tile<4, V>(op, row, column); break;
      case 3: multiply_tile<3, V>(op, row, column); break;
      case 2: multiply_tile<2, V>(op, row, column); break;
      default: multiply_tile<1, V>(op, row, column); break;
    }
    row += taken;
  }
}

void multiply(const float* a, std::int64_t lda, std::int64_t rows, std::int64_t depth,
              const float* b, std::int64_t ldb, std::int64_t columns, float* c, std::int64_t ldc,
              bool accumulate) {
  const Operands op{a, lda, depth, b, ldb, c, ldc, accumulate};
  std::int64_t column = 0;
  for (; column + kWide <= columns; column += kWide) multiply_columns<2>(op, rows, column);
  for (; column + kLanes <= columns; column += kLanes) multiply_columns<1>(op, rows, column);
  if (column == columns) return;
  const __m256i lanes = first_lanes(columns - column);
  for (std::int64_t row = 0; row < rows; ++row) multiply_last(op, row, column, lanes);
}

void soft_cap(float* scores, std::int64_t count, float cap) {
  // tanh z = 1 - 2 / (e^2z + 1); its error is absolute, a few units of the last place of `cap`.
  const __m256 one = _mm256_set1_ps(1.0F);
  const __m256 two = _mm256_set1_ps(2.0F);
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const __m256i lanes = first_lanes(at_most_lanes(count - i));
    const __m256 z = _mm256_maskload_ps(scores + i, lanes);
    const __m256 e = exp(_mm256_mul_ps(z, _mm256_set1_ps(2.0F / cap)));
    const __m256 tanh = _mm256_sub_ps(one, _mm256_div_ps(two, _mm256_add_ps(e, one)));
    _mm256_maskstore_ps(scores + i, lanes, _mm256_mul_ps(tanh, _mm256_set1_ps(cap)));
  }
}

// All ones in the lanes i .. i + 7 of a block of keys that lie in begin .. end - 1.
__m256 seen_lanes(std::int64_t i, std::int64_t begin, std::int64_t end) {
  const __m256i index = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(i)),
                                         _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  const __m256i before_end = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(end)), index);
  const __m256i before_begin =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(begin)), index);
  return _mm256_castsi256_ps(_mm256_andnot_si256(before_begin, before_end));
}

float softmax_step(float* scores, std::int64_t begin, std::int64_t end, float* max, float* sum) {
  __m256 most = _mm256_set1_ps(*max);
  for (std::int64_t i = 0; i < kKeyBlock; i += kLanes) {
    const __m256 larger = _mm256_max_ps(most, _mm256_loadu_ps(scores + i));
    most = _mm256_blendv_ps(most, larger, seen_lanes(i, begin, end));
  }
  const float new_max = reduce_max(most);
  __m256 total = _mm256_setzero_ps();
  for (std::int64_t i = 0; i < kKeyBlock; i += kLanes) {
    const __m256 relative = _mm256_sub_ps(_mm256_loadu_ps(scores + i), _mm256_set1_ps(new_max));
    const __m256 p = _mm256_and_ps(seen_lanes(i, begin, end), exp(relative));
    _mm256_storeu_ps(scores + i, p);
    total = _mm256_add_ps(total, p);
  }
  if (begin >= end) return 1.0F;
  const float factor = *max == new_max ? 1.0F : ::expf(*max - new_max);
  *max = new_max;
  *sum = *sum * factor + reduce_add(total);
  return factor;
}

void rescale(float* row, std::int64_t size, float factor) {
  std::int64_t i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    _mm256_storeu_ps(row + i, _mm256_mul_ps(_mm256_loadu_ps(row + i), _mm256_set1_ps(factor)));
  }
  for (; i < size; ++i) row[i] *= factor;
}

}  // namespace

const AttentionPath kAttention = {.transpose = transpose_keys,
                                  .multiply = multiply,
                                  .soft_cap = soft_cap,
                                  .softmax_step = softmax_step,
                                  .rescale = rescale};

}  // namespace shoehorn::avx2
