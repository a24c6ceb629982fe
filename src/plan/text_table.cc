#include "plan/text_table.h"

#include <algorithm>
#include <string_view>

namespace shoehorn {
namespace {

struct Lines {
  std::string_view horizontal, vertical;
  std::string_view top[3], middle[3], bottom[3];  // left, between columns, right
};

constexpr Lines kUnicode = {"─", "│", {"┌", "┬", "┐"}, {"├", "┼", "┤"}, {"└", "┴", "┘"}};
constexpr Lines kAscii = {"-", "|", {"+", "+", "+"}, {"+", "+", "+"}, {"+", "+", "+"}};

std::string repeat(std::string_view what, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += what;
  return text;
}

std::string rule(const std::vector<std::size_t>& widths, std::string_view horizontal,
                 const std::string_view (&joints)[3]) {
  std::string text(joints[0]);
  for (std::size_t c = 0; c < widths.size(); ++c) {
    text += repeat(horizontal, widths[c] + 2);
    text += joints[c + 1 < widths.size() ? 1 : 2];
  }
  return text + "\n";
}

std::string row_text(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths,
                     std::string_view vertical) {
  std::string text(vertical);
  for (std::size_t c = 0; c < widths.size(); ++c) {
    const std::string cell = c < cells.size() ? cells[c] : "";
    const std::string space(widths[c] - display_width(cell), ' ');
    text += " " + (c == 0 ? cell + space : space + cell) + " ";
    text += vertical;
  }
  return text + "\n";
}

}  // namespace

std::size_t display_width(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string TextTable::text(bool unicode) const {
  const Lines& lines = unicode ? kUnicode : kAscii;
  std::vector<std::size_t> widths;
  std::size_t total = 1;
  for (std::size_t c = 0; c < header_.size(); ++c) {
    std::size_t width = display_width(header_[c]);
    for (const auto& row : rows_) {
      if (c < row.size()) width = std::max(width, display_width(row[c]));
    }
    widths.push_back(width);
    total += width + 3;
  }
  std::string text;
  if (!title_.empty()) {
    const std::size_t width = display_width(title_);
    text += std::string(width < total ? (total - width) / 2 : 0, ' ') + title_ + "\n";
  }
  text += rule(widths, lines.horizontal, lines.top);
  text += row_text(header_, widths, lines.vertical);
  text += rule(widths, lines.horizontal, lines.middle);
  for (const auto& row : rows_) text += row_text(row, widths, lines.vertical);
  return text + rule(widths, lines.horizontal, lines.bottom);
}

}  // namespace shoehorn
