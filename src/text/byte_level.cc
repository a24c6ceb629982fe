// The table, both ways.
#include "text/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

// Two bytes of UTF-8 at most: the largest stand-in is U+0143.
struct StandIn {
  char bytes[2];
  std::uint8_t length;
};

constexpr std::array<char32_t, 256> make_characters() {
  std::array<char32_t, 256> table{};
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    table[byte] = stands_for_itself(byte) ? byte : next++;
  }
  return table;
}

constexpr std::array<char32_t, 256> kCharacters = make_characters();
constexpr char32_t kLastCharacter = 0x143;

constexpr std::array<StandIn, 256> make_stand_ins() {
  std::array<StandIn, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char32_t c = kCharacters[byte];
    if (c < 0x80) {
      table[byte] = {{static_cast<char>(c), 0}, 1};
    } else {
      table[byte] = {{static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))}, 2};
    }
  }
  return table;
}

constexpr std::array<StandIn, 256> kStandIns = make_stand_ins();

// By character up to U+0143: the byte, or -1.
constexpr std::array<std::int16_t, kLastCharacter + 1> make_bytes() {
  std::array<std::int16_t, kLastCharacter + 1> table{};
  for (auto& entry : table) entry = -1;
  for (unsigned byte = 0; byte < 256; ++byte) {
    table[kCharacters[byte]] = static_cast<std::int16_t>(byte);
  }
  return table;
}

constexpr auto kBytes = make_bytes();

}  // namespace

void append_byte_level(std::string& out, std::string_view bytes) {
  for (const char c : bytes) {
    const StandIn& stand_in = kStandIns[static_cast<unsigned char>(c)];
    out.append(stand_in.bytes, stand_in.length);
  }
}

bool append_byte_level_decoded(std::string& out, std::string_view text) {
  const std::size_t before = out.size();
  for (std::size_t i = 0, length = 0; i < text.size(); i += length) {
    const char32_t c = decode_utf8(text.data() + i, length);
    if (c > kLastCharacter || kBytes[c] < 0) {
      out.resize(before);
      return false;
    }
    out.push_back(static_cast<char>(kBytes[c]));
  }
  return true;
}

}  // namespace shoehorn::text
