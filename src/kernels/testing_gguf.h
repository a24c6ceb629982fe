// For the tests of products with GGUF blocks: weights of random blocks whose values are of about 1.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/decode_row.h"
#include "kernels/kernel_test.h"
#include "quant/weight_form.h"
#include "tensor/half.h"

namespace shoehorn::kernel_test {

/// A block type, where its binary16 scale and minimum lie, and sizes of them that make values of
/// about 1 from random bits.
struct BlockType {
  DType dtype;
  std::size_t d_at;
  float d;
  std::size_t m_at = 0;  // 0: none
  float m = 0;
};

/// All types; the first ten have kernels of processors.
inline constexpr BlockType kBlockTypes[] = {
    {DType::kQ4_0, 0, 0.2F},
    {DType::kQ4_1, 0, 0.2F, 2, -1.5F},
    {DType::kQ5_0, 0, 0.1F},
    {DType::kQ5_1, 0, 0.1F, 2, -1.5F},
    {DType::kQ8_0, 0, 1.0F / 74},
    {DType::kQ4_K, 0, 1.0F / 300, 2, 1.0F / 40},
    {DType::kQ5_K, 0, 1.0F / 600, 2, 1.0F / 40},
    {DType::kQ6_K, 208, 1.0F / 1400},
    {DType::kIQ4_NL, 0, 1.0F / 70},
    {DType::kMXFP4, 0, 0.25F},
    {DType::kQ2_K, 80, 1.0F / 20, 82, 1.0F / 10},
    {DType::kQ3_K, 108, 1.0F / 60},
    {DType::kIQ4_XS, 0, 1.0F / 1400},
};

inline void put_half(std::byte* at, float value) {
  const std::uint16_t bits = f32_to_f16(value);
  std::memcpy(at, &bits, sizeof(bits));
}

inline std::int64_t block_values(const BlockType& type) {
  return dtype_info(type.dtype).block_elements;
}

/// A weight [outputs, k] of random blocks, off alignment.
class Blocks {
 public:
  Blocks(const BlockType& type, std::int64_t outputs, std::int64_t k, std::size_t offset = 1)
      : type_(type),
        outputs_(outputs),
        k_(k),
        block_bytes_(dtype_info(type.dtype).block_bytes),
        bytes_(packed_bytes(type.dtype, outputs * k).value(), offset) {
    std::mt19937 random(static_cast<unsigned>(type.dtype));
    std::uniform_real_distribution<float> factor(0.5F, 1.0F);
    const std::size_t count = size() / block_bytes_;
    for (std::size_t i = 0; i < size(); ++i) bytes_.data()[i] = static_cast<std::byte>(random());
    for (std::size_t i = 0; i < count; ++i) {
      set_scale(i, (i % 3 == 0 ? -1.0F : 1.0F) * factor(random) * type.d);
      if (type.m_at != 0) put_half(block(i) + type.m_at, factor(random) * type.m);
    }
  }

  std::size_t size() const { return packed_bytes(type_.dtype, outputs_ * k_).value(); }
  std::byte* block(std::size_t i) { return bytes_.data() + i * block_bytes_; }
  void set_scale(std::size_t i, float value) {
    if (type_.dtype != DType::kMXFP4) return put_half(block(i) + type_.d_at, value);
    // The nearest power of two below, of no sign: half of it times the doubled values of the table.
    block(i)[type_.d_at] = static_cast<std::byte>(128 + std::ilogb(value));
  }
  WeightView view() { return {{.dtype = type_.dtype}, {outputs_, k_}, bytes_.data(), Device{}}; }
  std::vector<float> values() {
    std::vector<float> out(static_cast<std::size_t>(outputs_ * k_));
    decode_row(type_.dtype, bytes_.data(), outputs_ * k_, out.data(), Isa::kRef);
    return out;
  }

 private:
  BlockType type_;
  std::int64_t outputs_;
  std::int64_t k_;
  std::size_t block_bytes_;
  OddBytes bytes_;
};

}  // namespace shoehorn::kernel_test
