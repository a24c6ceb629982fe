// What linear_four_bit_bf16.cc is made of. Internal.
#pragma once

#include <cstdint>

namespace shoehorn {

/// Columns of a tile: values of K in one product.
inline constexpr std::int64_t kBf16Columns = 32;
/// Rows of x in a panel, and weight rows in a tile.
inline constexpr std::int64_t kBf16Rows = 16;
/// Weight rows and columns that are decoded and multiplied together; the distance of decoded rows
/// is no power of two, so that they do not fall on the same cache sets.
inline constexpr std::int64_t kBf16Group = 32;
inline constexpr std::int64_t kBf16Depth = 256;
inline constexpr std::int64_t kBf16Stride = kBf16Depth + kBf16Columns;

/// 32 columns of 16 rows of x: columns 2 i and 2 i + 1 of row m at [i][m].
struct alignas(64) Bf16PanelBlock {
  std::uint16_t values[kBf16Columns / 2][kBf16Rows][2];
};
static_assert(sizeof(Bf16PanelBlock) == 1024);

struct Bf16Multiply {
  const std::uint16_t* weights = nullptr;  // [kBf16Group][kBf16Stride]
  std::int64_t blocks = 0;                 // of 32 columns
  const Bf16PanelBlock* panels = nullptr;  // [panel_count][panel_blocks], from the first block on
  std::int64_t panel_blocks = 0;
  std::int64_t panel_count = 0;
  float* c = nullptr;          // [panel_count][c_outputs][16], from the first output on
  std::int64_t c_outputs = 0;  // with room for whole groups
  bool first = false;          // c begins at zero
};

namespace amx {
/// out = 32 columns of 16 rows, `stride` values apart.
void pack_bf16(const std::uint16_t* rows, std::int64_t stride, Bf16PanelBlock& out);
/// c[p, n, m] += sum_k weights[n, k] · panel[p, k, m] for a whole group of n.
void multiply_bf16(const Bf16Multiply& job);
/// y[m, n] (+)= c[n, m] + bias[n] for n < outputs, m < rows <= 16.
void store_bf16(const float* c, std::int64_t outputs, std::int64_t rows, const float* bias,
                bool accumulate, float* y, std::int64_t ldy);
}  // namespace amx

}  // namespace shoehorn
