// What bitsandbytes says of a four-bit weight beside its bytes (`QuantState.as_dict(packed=True)`),
// as JSON in a tensor of its own, and the names under which the parts of a quantized weight are
// stored.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "quant/weight_form.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace shoehorn {

// Beside "<module>.weight", four bits: "<module>.weight.absmax" ...
inline constexpr std::string_view kAbsmaxKey = "absmax";
inline constexpr std::string_view kQuantMapKey = "quant_map";
inline constexpr std::string_view kNestedAbsmaxKey = "nested_absmax";
inline constexpr std::string_view kNestedQuantMapKey = "nested_quant_map";
/// ... and "<module>.weight.quant_state.bitsandbytes__nf4".
inline constexpr std::string_view kQuantStatePrefix = "quant_state.bitsandbytes__";
// int8: "<module>.SCB", "<module>.weight_format"
inline constexpr std::string_view kScbKey = "SCB";
inline constexpr std::string_view kWeightFormatKey = "weight_format";

/// What weight_format holds: rows, the only order that is still written.
inline constexpr std::uint8_t kRowWeightFormat = 0;

/// "quant_state.bitsandbytes__nf4" for kNF4.
std::string quant_state_key(QuantType type);

struct QuantState {
  /// Double quantization; blocksize is always kNestedBlocksize and dtype float32.
  struct Nested {
    std::int64_t blocksize = kNestedBlocksize;
    DType dtype = DType::kF32;
    double offset = 0;  // a float32 as JSON shows it

    friend bool operator==(const Nested&, const Nested&) = default;
  };

  QuantType quant_type = QuantType::kNF4;
  std::int64_t blocksize = 64;
  DType dtype = DType::kF32;  // of the tensor that was quantized: float32, float16 or bfloat16
  Shape shape;                // the same tensor's
  std::optional<Nested> nested;

  friend bool operator==(const QuantState&, const QuantState&) = default;
};

/// The longest JSON that is read; 170 bytes are usual.
inline constexpr std::size_t kMostQuantStateBytes = 4096;

/// The JSON, byte for byte as Python's json.dumps prints bitsandbytes' dict. Throws ArgumentError
/// for what parse_quant_state would refuse.
std::string quant_state_json(const QuantState& state);

/// Reads that JSON, keys in any order, keys that are not known ignored. `where` names the file and
/// tensor in messages. Throws FormatError naming the key for JSON that is broken, a key that is
/// missing or has a value of another type or out of range; UnsupportedError for an unknown
/// quant_type.
QuantState parse_quant_state(std::string_view json, std::string_view where);

}  // namespace shoehorn
