// Names from a file we do not trust, made fit for an error message on a terminal.
#pragma once

#include <string>
#include <string_view>

namespace shoehorn {

/// `text` with control characters written as \x1b, cut after 200 bytes ("...").
std::string printable(std::string_view text);

}  // namespace shoehorn
