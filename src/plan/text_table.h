// Tables for terminals: columns as wide as their widest cell, boxed with line-drawing characters or
// with plain ASCII.
#pragma once

#include <string>
#include <vector>

namespace shoehorn {

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : header_(std::move(header)) {}

  /// The first column is aligned left, the others right; cells that are missing stay empty.
  void add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  /// A line above the header, centred.
  void set_title(std::string title) { title_ = std::move(title); }

  /// Every line ends with a newline.
  std::string text(bool unicode) const;

 private:
  std::string title_;
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

/// Code points of UTF-8 text: columns on a terminal for the characters we print.
std::size_t display_width(const std::string& text);

}  // namespace shoehorn
