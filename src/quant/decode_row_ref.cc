#include "quant/decode_row_ref.h"

#include <cassert>
#include <string>

#include "shoehorn/error.h"

#include "quant/decode_families_ref.h"

namespace shoehorn::quant {
namespace {

template <typename Block, int kBlockElements>
void decode_blocks(const std::byte* blocks, std::int64_t elements, float* out) {
  assert(elements % kBlockElements == 0);
  const auto* block = reinterpret_cast<const Block*>(blocks);
  for (std::int64_t i = 0; i < elements; i += kBlockElements) decode_block(*block++, out + i);
}

}  // namespace

void decode_row_ref(DType dtype, const std::byte* blocks, std::int64_t elements, float* out) {
  switch (dtype) {
    case DType::kQ4_0: return decode_blocks<BlockQ4_0, kSmallBlock>(blocks, elements, out);
    case DType::kQ4_1: return decode_blocks<BlockQ4_1, kSmallBlock>(blocks, elements, out);
    case DType::kQ5_0: return decode_blocks<BlockQ5_0, kSmallBlock>(blocks, elements, out);
    case DType::kQ5_1: return decode_blocks<BlockQ5_1, kSmallBlock>(blocks, elements, out);
    case DType::kQ8_0: return decode_blocks<BlockQ8_0, kSmallBlock>(blocks, elements, out);
    case DType::kQ2_K: return decode_blocks<BlockQ2_K, kSuperBlock>(blocks, elements, out);
    case DType::kQ3_K: return decode_blocks<BlockQ3_K, kSuperBlock>(blocks, elements, out);
    case DType::kQ4_K: return decode_blocks<BlockQ4_K, kSuperBlock>(blocks, elements, out);
    case DType::kQ5_K: return decode_blocks<BlockQ5_K, kSuperBlock>(blocks, elements, out);
    case DType::kQ6_K: return decode_blocks<BlockQ6_K, kSuperBlock>(blocks, elements, out);
    case DType::kIQ4_NL: return decode_blocks<BlockIQ4_NL, kSmallBlock>(blocks, elements, out);
    case DType::kIQ4_XS: return decode_blocks<BlockIQ4_XS, kSuperBlock>(blocks, elements, out);
    case DType::kMXFP4: return decode_blocks<BlockMXFP4, kSmallBlock>(blocks, elements, out);
    default: throw UnsupportedError(std::string(to_string(dtype)) + " is not a block type");
  }
}

}  // namespace shoehorn::quant
