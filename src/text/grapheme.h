// Extended grapheme clusters (UAX 29): what a reader takes for one character.
#pragma once

#include <cstddef>
#include <string_view>

namespace shoehorn::text {

/// End of the cluster that starts at `begin`, which is before the end of `text` (valid UTF-8).
std::size_t grapheme_cluster_end(std::string_view text, std::size_t begin);

}  // namespace shoehorn::text
