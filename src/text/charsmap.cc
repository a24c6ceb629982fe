// Look-up in the double array, bounds checked at every step: the file may hold anything.
#include "text/charsmap.h"

#include <cstring>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/grapheme.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr std::size_t kWholeCluster = 6;  // clusters of this many bytes are taken apart

// Fields of a unit (darts-clone).
bool has_leaf(std::uint32_t unit) {
  return unit >> 8 & 1;
}
std::uint32_t label(std::uint32_t unit) {
  return unit & 0x800000FFU;
}
std::uint32_t offset(std::uint32_t unit) {
  return (unit >> 10) << ((unit & 0x200U) >> 6);
}
std::uint32_t value(std::uint32_t unit) {
  return unit & 0x7FFFFFFFU;
}

}  // namespace

Charsmap::Charsmap(std::string_view bytes) {
  std::uint32_t size = 0;
  if (bytes.size() < 4) throw FormatError("a charsmap of fewer than 4 bytes");
  std::memcpy(&size, bytes.data(), 4);
  if (size % 4 != 0 || size == 0 || size > bytes.size() - 4) {
    throw FormatError(str_cat("a charsmap whose trie has ", size, " bytes of ", bytes.size() - 4));
  }
  units_.resize(size / 4);
  std::memcpy(units_.data(), bytes.data() + 4, size);
  texts_ = bytes.substr(4 + size);
  if (!is_valid_utf8(texts_)) throw FormatError("a charsmap whose replacements are not UTF-8");
}

std::optional<std::string_view> Charsmap::find(std::string_view text) const {
  std::uint32_t position = offset(units_[0]);
  for (const char c : text) {
    if (c == '\0') return std::nullopt;
    const std::uint32_t byte = static_cast<unsigned char>(c);
    position ^= byte;
    if (position >= units_.size()) return std::nullopt;
    const std::uint32_t unit = units_[position];
    if (label(unit) != byte) return std::nullopt;
    position ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (position >= units_.size()) return std::nullopt;
    const std::uint32_t start = value(units_[position]);
    if (start >= texts_.size()) return std::nullopt;
    const std::string_view rest = std::string_view{texts_}.substr(start);
    // An offset into the middle of a character would not give UTF-8.
    if (!rest.empty() && is_continuation(rest[0])) return std::nullopt;
    return rest.substr(0, rest.find('\0'));
  }
  return std::nullopt;
}

void Charsmap::append_mapped(std::string& out, std::string_view text) const {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = grapheme_cluster_end(text, begin);
    const std::string_view cluster = text.substr(begin, end - begin);
    begin = end;
    if (cluster.size() < kWholeCluster) {
      if (const auto replacement = find(cluster)) {
        out.append(*replacement);
        continue;
      }
    }
    for (std::size_t i = 0; i < cluster.size();) {
      const std::string_view character = cluster.substr(i, sequence_length(cluster[i]));
      out.append(find(character).value_or(character));
      i += character.size();
    }
  }
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  const auto digit = [](char c) -> int {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
  };
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = digit(c);
    if (value < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count & 0xFF));
  }
  return bytes;
}

}  // namespace shoehorn::text
