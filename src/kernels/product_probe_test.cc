#include "kernels/product_probe.h"

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

TEST(ProductProbe, EveryFormTakesTime) {
  ThreadPool pool(2);
  ProductProbe probe(pool, detect_isa(), 1, 16, std::size_t{4} << 20);
  for (const WeightForm& form :
       {WeightForm{.dtype = DType::kF32}, WeightForm{.dtype = DType::kBF16},
        WeightForm{.dtype = DType::kQ4_K},
        WeightForm{.quant_type = QuantType::kInt8, .dtype = DType::kBF16},
        WeightForm{.quant_type = QuantType::kNF4, .dtype = DType::kBF16},
        WeightForm{.quant_type = QuantType::kFP4, .dtype = DType::kF32, .nested = true}}) {
    const ProductProbe::Times times = probe.measure(form, {}, {256, 512});
    EXPECT_GT(times.pass_s, 0) << to_string(form.quant_type) << " " << to_string(form.dtype);
    EXPECT_GT(times.row_s, 0) << to_string(form.quant_type) << " " << to_string(form.dtype);
    EXPECT_LT(times.pass_s, 1);
  }
  EXPECT_GT(probe.measure_loop_s(), 0);
}

TEST(ProductProbe, AWeightLargerThanItsBufferIsScaled) {
  ThreadPool pool(1);
  ProductProbe probe(pool, detect_isa(), 1, 16, std::size_t{1} << 20);
  const WeightForm form{.dtype = DType::kF32};
  const double small = probe.measure(form, {}, {128, 1024}).pass_s;
  const double large = probe.measure(form, {}, {128 * 64, 1024}).pass_s;
  EXPECT_GT(large, 8 * small);
}

TEST(ProductProbe, AVectorIsNoProduct) {
  ThreadPool pool(1);
  ProductProbe probe(pool, detect_isa(), 1, 16, std::size_t{1} << 20);
  EXPECT_EQ(probe.measure({}, {}, {128}).pass_s, 0);
}

}  // namespace
}  // namespace shoehorn
