// Writes SVG elements: rectangles, lines and text with everything escaped.
#pragma once

#include <sstream>
#include <string>
#include <string_view>

namespace shoehorn {

struct TextLook {
  double size = 12;
  std::string_view anchor = "start";  // start, middle, end
  std::string_view fill = "#222";
  bool bold = false;
};

class SvgCanvas {
 public:
  SvgCanvas(double width, double height);

  /// `fill` is a colour or "url(#id)"; a tooltip is shown by browsers where it is not empty.
  void rectangle(double x, double y, double width, double height, std::string_view fill,
                 std::string_view stroke = "none", std::string_view tooltip = "");
  void line(double x1, double y1, double x2, double y2, std::string_view stroke,
            bool dashed = false);
  void text(double x, double y, std::string_view words, const TextLook& look = {});
  /// A pattern of diagonal lines over `background`, usable as the fill "url(#id)".
  void hatching(std::string_view id, std::string_view background, std::string_view lines);

  /// The document; the canvas is empty afterwards.
  std::string finish();

 private:
  std::ostringstream out_;
};

/// Text with &, <, > and quotes escaped, control characters replaced.
std::string xml_escaped(std::string_view text);

}  // namespace shoehorn
