#include "key_reader.h"

#include <string_view>

#include "line_buffer.h"

namespace shoehorn::cli {
namespace {

// What follows an escape comes at once, or the key was Escape itself; slow links need a little.
constexpr int kEscape_ms = 100;
// A paste may stall on a slow link; then what came is taken.
constexpr int kPaste_ms = 2000;
constexpr std::size_t kMaxPasteBytes = 4U << 20;
constexpr std::string_view kPasteEnd = "\x1b[201~";

Key control_key(int byte) {
  switch (byte) {
    case 0x01: return Key::kHome;
    case 0x02: return Key::kLeft;
    case 0x03: return Key::kInterrupt;
    case 0x04: return Key::kEndOfText;
    case 0x05: return Key::kEnd;
    case 0x06: return Key::kRight;
    case 0x08: return Key::kBackspace;
    case 0x0A: return Key::kEnter;
    case 0x0B: return Key::kKillToEnd;
    case 0x0C: return Key::kClearScreen;
    case 0x0D: return Key::kEnter;
    case 0x0E: return Key::kDown;
    case 0x10: return Key::kUp;
    case 0x15: return Key::kKillToStart;
    case 0x17: return Key::kKillWord;
    case 0x19: return Key::kYank;
    case 0x1A: return Key::kSuspend;
    case 0x7F: return Key::kBackspace;
    default: return Key::kUnknown;
  }
}

Key final_key(char final, bool with_modifier) {
  switch (final) {
    case 'A': return Key::kUp;
    case 'B': return Key::kDown;
    case 'C': return with_modifier ? Key::kWordRight : Key::kRight;
    case 'D': return with_modifier ? Key::kWordLeft : Key::kLeft;
    case 'H': return Key::kHome;
    case 'F': return Key::kEnd;
    default: return Key::kUnknown;
  }
}

Key numbered_key(std::string_view number) {
  if (number == "1" || number == "7") return Key::kHome;
  if (number == "4" || number == "8") return Key::kEnd;
  if (number == "3") return Key::kDelete;
  return Key::kUnknown;
}

// Valid UTF-8, with newlines alone between lines.
std::string cleaned(std::string_view bytes) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t begin = at;
    const char32_t code = next_code_point(bytes, at);
    if (code == 0xFFFD && at - begin == 1) {
      text += "\xEF\xBF\xBD";
    } else if (code == '\r') {
      text += '\n';
      if (at < bytes.size() && bytes[at] == '\n') ++at;
    } else {
      text += bytes.substr(begin, at - begin);
    }
  }
  return text;
}

}  // namespace

KeyPress KeyReader::next() {
  const int byte = next_byte_(-1);
  if (byte == kClosed) return {Key::kClosed};
  if (byte < 0) return {Key::kResized};
  if (byte == 0x1B) return escape();
  if (byte < 0x20 || byte == 0x7F) {
    if (byte == '\t') return {Key::kText, "\t"};
    return {control_key(byte)};
  }
  return characters(static_cast<unsigned char>(byte));
}

KeyPress KeyReader::characters(unsigned char first) {
  std::string bytes(1, static_cast<char>(first));
  const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
  for (int i = 0; i < more; ++i) {
    const int byte = next_byte_(kEscape_ms);
    if (byte < 0) break;
    bytes += static_cast<char>(byte);
  }
  return {Key::kText, cleaned(bytes)};
}

KeyPress KeyReader::escape() {
  const int byte = next_byte_(kEscape_ms);
  switch (byte) {
    case '[': return control_sequence();
    case 'O': {
      const int final = next_byte_(kEscape_ms);
      return {final < 0 ? Key::kUnknown : final_key(static_cast<char>(final), false)};
    }
    case 'b': return {Key::kWordLeft};
    case 'f': return {Key::kWordRight};
    case '\r':
    case '\n': return {Key::kNewline};
    case 0x7F: return {Key::kKillWord};
    default: return {Key::kUnknown};
  }
}

KeyPress KeyReader::control_sequence() {
  constexpr std::size_t kLongest = 32;
  std::string parameters;
  while (parameters.size() < kLongest) {
    const int byte = next_byte_(kEscape_ms);
    if (byte < 0) return {Key::kUnknown};
    if (byte >= 0x40 && byte <= 0x7E) {
      if (byte != '~') {
        return {final_key(static_cast<char>(byte), parameters.find(';') != std::string::npos)};
      }
      if (parameters == "200") return paste();
      return {numbered_key(parameters)};
    }
    parameters += static_cast<char>(byte);
  }
  return {Key::kUnknown};
}

KeyPress KeyReader::paste() {
  std::string bytes;
  while (bytes.size() < kMaxPasteBytes) {
    const int byte = next_byte_(kPaste_ms);
    if (byte == kSignal) continue;
    if (byte < 0) break;
    bytes += static_cast<char>(byte);
    if (bytes.ends_with(kPasteEnd)) {
      bytes.resize(bytes.size() - kPasteEnd.size());
      break;
    }
  }
  return {Key::kText, cleaned(bytes)};
}

}  // namespace shoehorn::cli
