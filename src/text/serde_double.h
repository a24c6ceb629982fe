// Decimals to doubles as Rust's serde_json does it by default, which the tokenizers library reads
// scores with. It is faster than exact reading and off by a bit in the last place for many
// decimals, and that bit decides between segmentations of equal scores.
#pragma once

#include <optional>
#include <string_view>

namespace shoehorn::text {

/// The double of a number by JSON's grammar (`-? digits [. digits] [e [+-] digits]`): as many
/// leading digits as fit 64 bits, times or divided by a power of ten, each step rounded. Nothing
/// where the result would be infinite.
std::optional<double> serde_double(std::string_view number);

}  // namespace shoehorn::text
