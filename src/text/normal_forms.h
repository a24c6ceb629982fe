// The Unicode normal forms with the data of Unicode 9, which is what the tokenizers library has.
#pragma once

#include <string>
#include <string_view>

namespace shoehorn::text {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// Appends `text` (valid UTF-8) in the given form (UAX 15).
void append_normalized(std::string& out, std::string_view text, NormalForm form);

}  // namespace shoehorn::text
