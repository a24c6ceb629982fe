// The reference decoders of one block each, by family; decode_row_ref walks rows with them.
#pragma once

#include "quant/ggml_blocks.h"

namespace shoehorn::quant {

// decode_small_ref.cc: 32 values with one scale (and minimum)
void decode_block(const BlockQ4_0& block, float* out);
void decode_block(const BlockQ4_1& block, float* out);
void decode_block(const BlockQ5_0& block, float* out);
void decode_block(const BlockQ5_1& block, float* out);
void decode_block(const BlockQ8_0& block, float* out);

// decode_k_ref.cc: 256 values whose group scales are themselves quantized
void decode_block(const BlockQ2_K& block, float* out);
void decode_block(const BlockQ3_K& block, float* out);
void decode_block(const BlockQ4_K& block, float* out);
void decode_block(const BlockQ5_K& block, float* out);
void decode_block(const BlockQ6_K& block, float* out);

// decode_codebook_ref.cc: four bits that index a table
void decode_block(const BlockIQ4_NL& block, float* out);
void decode_block(const BlockIQ4_XS& block, float* out);
void decode_block(const BlockMXFP4& block, float* out);

}  // namespace shoehorn::quant
