// What linear_four_bit_int8.cc is made of, by instruction set. Internal.
//
// Within a run of 64 values the even ones come first, then the odd ones: a byte holds an even value
// in its high half and the next one in its low half, so that 32 bytes are taken apart by a shift.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/exec_context.h"
#include "kernels/linear.h"
#include "kernels/linear_four_bit_paths.h"
#include "quant/weight_form.h"

namespace shoehorn {

/// Values that share a scale of x.
inline constexpr std::int64_t kInt8Run = 64;
/// A run whose largest value is below this counts as zero: 127 / a would be near infinity.
inline constexpr float kLeastActivation = 1e-36F;
/// a / 127 is a · this.
inline constexpr float kInt8Step = 1.0F / 127;

/// The code book in int8: value = code · unit, nearly.
struct FourBitInt8Codes {
  std::int8_t codes[16];
  float unit;  // 1 / f
};

/// f: 124.115 for NF4, 120 for FP4.
inline float four_bit_int8_factor(QuantType type) {
  return type == QuantType::kFP4 ? 120.0F : 124.115F;
}

/// codes[i] = round(quant_map[i] · f), at most 127 in magnitude. f makes the codes as exact as
/// seven bits can be: over normally distributed weights the rounding of NF4's values costs 0.0018
/// of absmax (root mean square) at 124.115 and 0.0023 at 127; FP4's are k/12, exact at 120 but for
/// the smallest. Their own error is 0.036 and 0.047.
FourBitInt8Codes four_bit_int8_codes(QuantType type, const float* quant_map);

/// Few rows of x: dot products from the packed bytes.
struct FourBitInt8DotPath {
  /// Of a quantized row of x, a multiple of 64.
  std::int64_t (*row_bytes)(std::int64_t k);
  /// Quantizes a row of x as the kernel wants it; `out` is 64-byte aligned.
  void (*quantize)(const float* x, std::int64_t k, std::byte* out);
  /// Outputs begin <= n < end of quantized rows of x; each is summed in an order that depends on k
  /// and the blocksize alone. `scratch` takes the absmax of kRowGroup rows.
  void (*dot)(const FourBitDotJob& job, const FourBitInt8Codes& codes, const std::byte* x,
              std::int64_t begin, std::int64_t end, float* scratch);
};

/// Rows of x in a panel of the blocked product, and weight rows in a tile.
inline constexpr std::int64_t kInt8TileRows = 16;
/// Weight rows that are unpacked and multiplied together, and runs of them.
inline constexpr std::int64_t kInt8Group = 32;
inline constexpr std::int64_t kInt8GroupRuns = 8;

/// One run of 16 rows of x. Rows that are not there are zero.
struct alignas(64) Int8PanelRun {
  std::int8_t codes[16][kInt8TileRows][4];  // value 4 i + j of row m at [i][m][j]
  float scale[kInt8TileRows];               // a / 127
  std::int32_t offset[kInt8TileRows];       // -128 times the sum of a row's codes
};
static_assert(sizeof(Int8PanelRun) == 1152);

/// One run of 16 weight rows.
struct alignas(64) Int8TileRun {
  std::int8_t codes[kInt8TileRows][kInt8Run];
};

/// A group of unpacked weight rows times panels of x.
struct FourBitInt8Multiply {
  const Int8TileRun* weights = nullptr;  // [tiles][kInt8GroupRuns]
  const float* absmax = nullptr;         // [kInt8GroupRuns][kInt8Group]
  std::int64_t outputs = 0;              // at most kInt8Group
  std::int64_t runs = 0;                 // at most kInt8GroupRuns
  const Int8PanelRun* panels = nullptr;  // [panel_count][panel_runs], from the first run on
  std::int64_t panel_runs = 0;
  std::int64_t panel_count = 0;
  float* c = nullptr;          // [panel_count][c_outputs][16], from the first output on
  std::int64_t c_outputs = 0;  // with room for whole tiles
  bool first = false;          // c begins at zero
};

struct FourBitInt8GemmPath {
  /// panel[r] = run r of `rows` rows of x, ldx apart.
  void (*pack)(const float* x, std::int64_t ldx, std::int64_t rows, std::int64_t runs,
               Int8PanelRun* panel);
  /// Codes of `count` rows of packed bytes, row_bytes apart, as multiply wants them: [tiles][runs]
  /// with tiles kInt8GroupRuns apart; rows up to a whole tile become any numbers. What lies
  /// `ahead` bytes further on is asked for along the way, unless that is 0.
  void (*unpack)(const std::uint8_t* packed, std::int64_t row_bytes, std::int64_t count,
                 std::int64_t runs, std::int64_t ahead, const FourBitInt8Codes& codes,
                 Int8TileRun* out);
  /// out[i] = absmax[first + i] where it is nested.
  void (*unnest)(const FourBitParts& parts, std::int64_t first, std::int64_t count, float* out);
  /// c[p, n, m] += sum over runs of (sum of products) · absmax · scale.
  void (*multiply)(const FourBitInt8Multiply& job);
  /// y[m, n] (+)= c[n, m] · unit + bias[n] for n < outputs, m < rows <= 16.
  void (*store)(const float* c, std::int64_t outputs, std::int64_t rows, float unit,
                const float* bias, bool accumulate, float* y, std::int64_t ldy);
};

namespace ref {
extern const FourBitInt8DotPath kFourBitInt8Dot;
}  // namespace ref
namespace avx2 {
extern const FourBitInt8DotPath kFourBitInt8Dot;
}  // namespace avx2
namespace avx512 {
extern const FourBitInt8DotPath kFourBitInt8Dot;
extern const FourBitInt8GemmPath kFourBitInt8Gemm;
}  // namespace avx512
namespace amx {
extern const FourBitInt8GemmPath kFourBitInt8Gemm;
}  // namespace amx

/// The blocked product of many rows.
void linear_four_bit_int8_gemm(std::span<const LinearTask> tasks, std::span<const float> x,
                               std::int64_t rows, const FourBitInt8GemmPath& path,
                               ExecContext& ctx);
std::size_t linear_four_bit_int8_gemm_workspace_bytes(std::int64_t rows, std::int64_t k,
                                                      int threads);

}  // namespace shoehorn
