// What the commands share in talking to a person.
#pragma once

#include <cstdint>
#include <string>

namespace shoehorn::cli {

/// True if the file descriptor is a terminal.
bool is_terminal(int fd);

/// True if the terminal's locale can show block characters.
bool shows_unicode();

/// "1.5 MiB".
std::string human_bytes(std::uint64_t bytes);

}  // namespace shoehorn::cli
