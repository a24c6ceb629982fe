// The activation family by instruction set; out may be gate or up.
#pragma once

#include <cstdint>

namespace shoehorn {

namespace ref {
void silu_mul(const float* gate, const float* up, std::int64_t size, float* out);
}
namespace avx2 {
void silu_mul(const float* gate, const float* up, std::int64_t size, float* out);
}
namespace avx512 {
void silu_mul(const float* gate, const float* up, std::int64_t size, float* out);
}

}  // namespace shoehorn
