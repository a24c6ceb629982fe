// Amounts of memory as text: "10GiB", "1.5GB". Two readings: accelerate's own, quirks included, for
// the reference planners, and the command line's, which takes more spellings and refuses nonsense.
#pragma once

#include <cstddef>
#include <string_view>

namespace shoehorn {

/// Bytes, exactly as accelerate's convert_file_size_to_int: a number as Python's float() reads it,
/// then GiB, MiB, KiB (powers of 1024) or GB, MB, KB (powers of 1000) in any letter case,
/// truncated. A lower-case b ends a decimal unit that counts bits: "1Gb" is 125,000,000. A double
/// holds every value accelerate can return without loss below 2^53. Throws ArgumentError naming the
/// text for anything else, "10" and "1TB" included.
double parse_size_reference(std::string_view text);

/// The same values, and also TiB, TB, Tb, "512B" and a bare number of bytes, with blanks around.
/// Throws ArgumentError for anything else, for negative amounts and for more than 2^63 - 1 bytes.
std::size_t parse_size(std::string_view text);

}  // namespace shoehorn
