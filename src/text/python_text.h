// Python's str, on UTF-8: characters, case, white space, repr. What chat templates do with text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shoehorn::text {

/// Where `part` starts in `text` at or after `from`, or npos. Linear also for hostile texts.
std::size_t find_bytes(std::string_view text, std::string_view part, std::size_t from = 0);
/// The last one that ends at or before `end`.
std::size_t rfind_bytes(std::string_view text, std::string_view part,
                        std::size_t end = std::string_view::npos);

/// str.isspace: White_Space and U+001C to U+001F.
bool is_python_space(char32_t c);
/// What repr prints as it is.
bool is_printable(char32_t c);
bool is_alphabetic(char32_t c);  // str.isalpha
bool is_decimal(char32_t c);     // str.isdecimal
bool is_digit(char32_t c);       // str.isdigit
bool is_numeric(char32_t c);     // str.isnumeric
bool is_upper(char32_t c);
bool is_lower(char32_t c);
/// \w of Python's re.
bool is_word(char32_t c);

std::string python_upper(std::string_view text);
std::string python_lower(std::string_view text);
std::string python_title(std::string_view text);
std::string python_capitalize(std::string_view text);
std::string python_swapcase(std::string_view text);

/// str.strip and its one-sided forms; `characters`: a set, null for white space.
std::string_view python_strip(std::string_view text, const std::string_view* characters, bool left,
                              bool right);
/// str.splitlines() without the ends of lines.
std::vector<std::string_view> python_splitlines(std::string_view text);

/// repr(str).
void append_python_repr(std::string& out, std::string_view text);
/// repr(float): the shortest decimal that reads back the same.
std::string python_repr(double value);
std::string python_repr(__int128 value);

/// The byte where character `index` starts; the size where there are fewer.
std::size_t byte_of_character(std::string_view text, std::size_t index);
/// The character at a byte and its size in bytes.
char32_t character_at(std::string_view text, std::size_t byte, std::size_t& size);

}  // namespace shoehorn::text
