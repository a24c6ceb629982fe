#include "text/python_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "text/python_case_tables.h"
#include "text/unicode_data.h"
#include "text/unicode_tables.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

using unicode::CaseMapping;

// Labels of kGeneralCategory, in its order.
enum Category : int {
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCo,
  kCn
};

int category(char32_t c) {
  return label_of(unicode::kGeneralCategory, c);
}

bool in_ranges(std::span<const unicode::CodePointRange> ranges, char32_t c) {
  const auto after = std::ranges::upper_bound(ranges, c, {}, &unicode::CodePointRange::first);
  return after != ranges.begin() && c <= std::prev(after)->last;
}

const CaseMapping* find_mapping(std::span<const CaseMapping> table, char32_t c) {
  const auto found = std::ranges::lower_bound(table, c, {}, &CaseMapping::from);
  return found == table.end() || found->from != c ? nullptr : &*found;
}

void append_mapping(std::string& out, const CaseMapping& mapping) {
  for (const char32_t c : mapping.to) {
    if (c != 0) append_utf8(out, c);
  }
}

void append_upper(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c));
  } else if (const CaseMapping* mapping = find_mapping(unicode::kPythonUpper, c)) {
    append_mapping(out, *mapping);
  } else {
    append_utf8(out, c);
  }
}

void append_title(std::string& out, char32_t c) {
  if (const CaseMapping* mapping = find_mapping(unicode::kPythonTitle, c)) {
    append_mapping(out, *mapping);
  } else {
    append_upper(out, c);
  }
}

bool is_cased(char32_t c) {
  return is_upper(c) || is_lower(c) || category(c) == kLt;
}

// Case_Ignorable: marks, formats, modifiers, and punctuation inside of words.
bool is_case_ignorable(char32_t c) {
  constexpr std::u32string_view kInWords =
      U"\u0027\u002E\u003A\u00B7\u0387\u055F\u05F4\u2018\u2019\u2024\u2027\uFE13\uFE52\uFE55\uFF07"
      U"\uFF0E\uFF1A";
  if (kInWords.find(c) != std::u32string_view::npos) return true;
  const int label = category(c);
  return label == kMn || label == kMe || label == kCf || label == kLm || label == kSk;
}

// A capital sigma that ends a word has a lower case of its own.
bool ends_word(std::string_view text, std::size_t at, std::size_t size) {
  std::size_t length = 0;
  bool cased_before = false;
  for (std::size_t i = at; i > 0;) {
    i = previous_character(text, i);
    const char32_t c = decode_utf8(text.data() + i, length);
    if (is_case_ignorable(c)) continue;
    cased_before = is_cased(c);
    break;
  }
  if (!cased_before) return false;
  for (std::size_t i = at + size; i < text.size(); i += length) {
    const char32_t c = decode_utf8(text.data() + i, length);
    if (!is_case_ignorable(c)) return !is_cased(c);
  }
  return true;
}

void append_lower_at(std::string& out, std::string_view text, std::size_t at, char32_t c,
                     std::size_t size) {
  if (c == 0x0130) {
    out += "i\u0307";
  } else if (c == 0x03A3) {
    append_utf8(out, ends_word(text, at, size) ? 0x03C2 : 0x03C3);
  } else {
    append_lower(out, c);
  }
}

template <typename Each>
void for_characters(std::string_view text, const Each& each) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); i += size) {
    const char32_t c = decode_utf8(text.data() + i, size);
    each(c, i, size);
  }
}

bool is_line_end(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

void append_hex(std::string& out, char32_t c, int digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out.push_back(kDigits[(c >> shift) & 0xF]);
  }
}

}  // namespace

std::size_t find_bytes(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  const void* found = ::memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found == nullptr ? std::string_view::npos
                          : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t rfind_bytes(std::string_view text, std::string_view part, std::size_t end) {
  end = std::min(end, text.size());
  if (part.empty()) return end;
  // There is no linear search from behind in the library: turned around, it is one from the front.
  const std::string mirrored(text.rbegin() + static_cast<std::ptrdiff_t>(text.size() - end),
                             text.rend());
  const std::string mirrored_part(part.rbegin(), part.rend());
  const std::size_t found = find_bytes(mirrored, mirrored_part);
  return found == std::string_view::npos ? found : end - found - part.size();
}

bool is_python_space(char32_t c) {
  return is_white(c) || (c >= 0x1C && c <= 0x1F);
}

bool is_printable(char32_t c) {
  if (c < 0x7F) return c >= ' ';
  const int label = category(c);
  return label < kZs && label >= 0;
}

bool is_alphabetic(char32_t c) {
  const int label = category(c);
  return label >= kLu && label <= kLo;
}
bool is_decimal(char32_t c) {
  return category(c) == kNd;
}
bool is_digit(char32_t c) {
  // Superscripts, subscripts, circled and other digits.
  constexpr std::array<unicode::CodePointRange, 17> kDigits = {{{0xB2, 0xB3},
                                                                {0xB9, 0xB9},
                                                                {0x1369, 0x1371},
                                                                {0x19DA, 0x19DA},
                                                                {0x2070, 0x2070},
                                                                {0x2074, 0x2079},
                                                                {0x2080, 0x2089},
                                                                {0x2460, 0x2468},
                                                                {0x2474, 0x247C},
                                                                {0x2488, 0x2490},
                                                                {0x24EA, 0x24EA},
                                                                {0x24F5, 0x24FD},
                                                                {0x24FF, 0x24FF},
                                                                {0x2776, 0x277E},
                                                                {0x2780, 0x2788},
                                                                {0x278A, 0x2792},
                                                                {0x1F100, 0x1F10A}}};
  return is_decimal(c) || in_ranges(kDigits, c) || (c >= 0x10A40 && c <= 0x10A43) ||
         (c >= 0x10E60 && c <= 0x10E68) || (c >= 0x11052 && c <= 0x1105A);
}
bool is_numeric(char32_t c) {
  const int label = category(c);
  return label == kNd || label == kNl || label == kNo;
}
bool is_upper(char32_t c) {
  return in_ranges(unicode::kUppercase, c);
}
bool is_lower(char32_t c) {
  return in_ranges(unicode::kLowercase, c);
}
bool is_word(char32_t c) {
  return c == '_' || is_alphabetic(c) || is_numeric(c);
}

std::string python_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_characters(text, [&](char32_t c, std::size_t, std::size_t) { append_upper(out, c); });
  return out;
}

std::string python_lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_characters(text, [&](char32_t c, std::size_t at, std::size_t size) {
    append_lower_at(out, text, at, c, size);
  });
  return out;
}

std::string python_title(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool after_cased = false;
  for_characters(text, [&](char32_t c, std::size_t at, std::size_t size) {
    if (after_cased) {
      append_lower_at(out, text, at, c, size);
    } else {
      append_title(out, c);
    }
    after_cased = is_cased(c);
  });
  return out;
}

std::string python_capitalize(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_characters(text, [&](char32_t c, std::size_t at, std::size_t size) {
    if (at == 0) {
      append_title(out, c);
    } else {
      append_lower_at(out, text, at, c, size);
    }
  });
  return out;
}

std::string python_swapcase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_characters(text, [&](char32_t c, std::size_t at, std::size_t size) {
    if (is_upper(c)) {
      append_lower_at(out, text, at, c, size);
    } else if (is_lower(c)) {
      append_upper(out, c);
    } else {
      append_utf8(out, c);
    }
  });
  return out;
}

std::string_view python_strip(std::string_view text, const std::string_view* characters, bool left,
                              bool right) {
  std::u32string set;
  if (characters != nullptr) {
    for_characters(*characters, [&](char32_t c, std::size_t, std::size_t) { set.push_back(c); });
    std::ranges::sort(set);
  }
  const auto strips = [&](char32_t c) {
    return characters == nullptr ? is_python_space(c) : std::ranges::binary_search(set, c);
  };
  std::size_t size = 0;
  while (left && !text.empty() && strips(decode_utf8(text.data(), size))) text.remove_prefix(size);
  while (right && !text.empty()) {
    const std::size_t last = previous_character(text, text.size());
    if (!strips(decode_utf8(text.data() + last, size))) break;
    text.remove_suffix(text.size() - last);
  }
  return text;
}

std::vector<std::string_view> python_splitlines(std::string_view text) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); i += size) {
    const char32_t c = decode_utf8(text.data() + i, size);
    if (!is_line_end(c)) continue;
    lines.push_back(text.substr(begin, i - begin));
    if (c == '\r' && text.substr(i, 2) == "\r\n") size = 2;
    begin = i + size;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

void append_python_repr(std::string& out, std::string_view text) {
  const bool single = text.find('\'') == std::string_view::npos;
  const char quote = single || text.find('"') != std::string_view::npos ? '\'' : '"';
  out.push_back(quote);
  for_characters(text, [&](char32_t c, std::size_t at, std::size_t size) {
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      out += text.substr(at, size);
    } else if (c < 0x100) {
      out += "\\x";
      append_hex(out, c, 2);
    } else if (c < 0x10000) {
      out += "\\u";
      append_hex(out, c, 4);
    } else {
      out += "\\U";
      append_hex(out, c, 8);
    }
  });
  out.push_back(quote);
}

std::string python_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                 std::chars_format::scientific)
                       .ptr;
  const std::string_view shortest(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  const std::size_t e = shortest.find('e');
  int exponent = 0;
  const std::size_t sign = shortest[e + 1] == '+' ? 1 : 0;
  std::from_chars(shortest.data() + e + 1 + sign, shortest.data() + shortest.size(), exponent);
  const bool negative = shortest[0] == '-';
  std::string digits;
  for (const char c : shortest.substr(negative ? 1 : 0, e - (negative ? 1 : 0))) {
    if (c != '.') digits.push_back(c);
  }
  std::string out = negative ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (digits.size() > 1) out += "." + digits.substr(1);
    const int magnitude = std::abs(exponent);
    out += exponent < 0 ? "e-" : "e+";
    if (magnitude < 10) out += '0';
    return out + std::to_string(magnitude);
  }
  if (exponent < 0) {
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

std::string python_repr(__int128 value) {
  if (value == 0) return "0";
  const bool negative = value < 0;
  auto rest =
      negative ? -static_cast<unsigned __int128>(value) : static_cast<unsigned __int128>(value);
  std::string digits;
  for (; rest > 0; rest /= 10)
    digits.push_back(static_cast<char>('0' + static_cast<int>(rest % 10)));
  if (negative) digits.push_back('-');
  std::ranges::reverse(digits);
  return digits;
}

std::size_t byte_of_character(std::string_view text, std::size_t index) {
  std::size_t byte = 0;
  while (index > 0 && byte < text.size()) {
    byte += sequence_length(text[byte]);
    --index;
  }
  return byte;
}

char32_t character_at(std::string_view text, std::size_t byte, std::size_t& size) {
  return decode_utf8(text.data() + byte, size);
}

}  // namespace shoehorn::text
