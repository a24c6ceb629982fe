// Writing long lists as JSON, where building a tree of them would cost more than all the rest.
#pragma once

#include <string>
#include <string_view>

namespace shoehorn {

/// Appends `text`, which is UTF-8, as a JSON string.
inline void append_json_string(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  std::size_t plain = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out += text.substr(plain, i - plain);
    plain = i + 1;
    if (c < 0x20) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += '\\';
      out += static_cast<char>(c);
    }
  }
  out += text.substr(plain);
  out += '"';
}

}  // namespace shoehorn
