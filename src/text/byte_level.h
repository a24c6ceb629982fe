// The printable stand-ins for bytes that byte-level vocabularies are written in (GPT-2's table).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shoehorn::text {

/// Appends the stand-in of each byte: bytes 33-126, 161-172, 174-255 are the character of the same
/// code, the others in order U+0100, U+0101, ...
void append_byte_level(std::string& out, std::string_view bytes);

/// Appends the bytes that `text` stands for. False, and `out` as before, if some character of it
/// stands for no byte.
bool append_byte_level_decoded(std::string& out, std::string_view text);

}  // namespace shoehorn::text
