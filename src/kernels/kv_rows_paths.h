// 8-bit rows of a KV cache, by instruction set. Internal: kv_rows.cc lays rows out.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shoehorn {

struct KvRowPath {
  /// max |x_i|; `finite` becomes false where a value is an infinity or a NaN.
  float (*absmax)(const float* x, std::int64_t width, bool* finite);
  /// codes[i] = x_i · inverse, rounded to nearest, ties to even; |x_i · inverse| < 127.5.
  void (*encode)(const float* x, std::int64_t width, float inverse, std::byte* codes);
  /// out[i] = codes[i] · scale
  void (*decode)(const std::byte* codes, std::int64_t width, float scale, float* out);
};

namespace ref {
extern const KvRowPath kKvRows;
}
namespace avx2 {
extern const KvRowPath kKvRows;
}
namespace avx512 {
extern const KvRowPath kKvRows;
}

}  // namespace shoehorn
