// For the tests and benchmarks of four-bit kernels: a weight of random codes and scales, laid out
// as quant/weight_form.h says. The codes are what the file says they are, so tests may choose any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/kernel_test.h"
#include "quant/weight_form.h"
#include "tensor/half.h"

namespace shoehorn::kernel_test {

inline constexpr float kNF4Codes[16] = {-1.0F,        -0.6961928F,  -0.52507305F, -0.3949175F,
                                        -0.28444138F, -0.18477343F, -0.0910500F,  0.0F,
                                        0.0795803F,   0.1609302F,   0.2461123F,   0.3379152F,
                                        0.4407098F,   0.5626170F,   0.7229568F,   1.0F};
inline constexpr float kFP4Codes[16] = {
    0.0F, 0.005208333F,  0.6666667F,  1.0F,  0.33333334F,  0.5F,  0.16666667F,  0.25F,
    0.0F, -0.005208333F, -0.6666667F, -1.0F, -0.33333334F, -0.5F, -0.16666667F, -0.25F};

/// A weight [outputs, k] of random codes; absmax is about 0.2 to 1.
class FourBitWeight {
 public:
  FourBitWeight(const WeightForm& form, std::int64_t outputs, std::int64_t k, unsigned seed,
                std::size_t offset = 0)
      : layout_(four_bit_layout(form, outputs * k)),
        bytes_(layout_.bytes, offset),
        view_(form, {outputs, k}, bytes_.data(), Device{}) {
    std::mt19937 random(seed);
    std::uniform_int_distribution<int> byte(0, 255);
    std::byte* const data = bytes_.data();
    for (std::size_t i = 0; i < layout_.bytes; ++i) data[i] = static_cast<std::byte>(byte(random));
    put(layout_.quant_map, form.quant_type == QuantType::kFP4 ? kFP4Codes : kNF4Codes, 16);
    std::uniform_real_distribution<float> scale(0.2F, 1.0F);
    const auto scales = [&](std::int64_t count) {
      std::vector<float> values(static_cast<std::size_t>(count));
      for (float& value : values) value = scale(random);
      return values;
    };
    if (form.nested) {
      put(layout_.nested_absmax, scales(layout_.nested_blocks).data(), layout_.nested_blocks);
      std::vector<float> map(256);
      for (int i = 0; i < 256; ++i) map[static_cast<std::size_t>(i)] = 0.4F * (i - 127) / 128.0F;
      put(layout_.nested_quant_map, map.data(), 256);
      const float center = 0.6F;
      put(layout_.nested_offset, &center, 1);
    } else {
      put(layout_.absmax, scales(layout_.blocks).data(), layout_.blocks);
    }
  }

  WeightView view(ComputeDtype dtype = ComputeDtype::kF32) const {
    WeightView view = view_;
    view.compute.dtype = dtype;
    return view;
  }
  std::byte* data() { return bytes_.data(); }
  /// Rounds the code book to float16, which kernels for 16-bit compute dtypes may do.
  void round_codes() {
    float codes[16];
    std::memcpy(codes, bytes_.data() + layout_.quant_map, sizeof(codes));
    for (float& code : codes) code = f16_to_f32(f32_to_f16(code));
    put(layout_.quant_map, codes, 16);
  }
  const FourBitLayout& layout() const { return layout_; }

 private:
  void put(std::size_t at, const float* values, std::int64_t count) {
    std::memcpy(bytes_.data() + at, values, static_cast<std::size_t>(count) * sizeof(float));
  }

  FourBitLayout layout_;
  OddBytes bytes_;
  WeightView view_;
};

}  // namespace shoehorn::kernel_test
