#include "plan/svg_canvas.h"

#include <iomanip>

namespace shoehorn {

std::string xml_escaped(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&quot;"; break;
      default: escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return escaped;
}

SvgCanvas::SvgCanvas(double width, double height) {
  out_.imbue(std::locale::classic());
  out_ << std::fixed << std::setprecision(1);
  out_ << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\"" << height
       << "\" viewBox=\"0 0 " << width << ' ' << height
       << "\" font-family=\"DejaVu Sans, Verdana, Helvetica, sans-serif\">\n";
  rectangle(0, 0, width, height, "white");
}

void SvgCanvas::rectangle(double x, double y, double width, double height, std::string_view fill,
                          std::string_view stroke, std::string_view tooltip) {
  out_ << "<rect x=\"" << x << "\" y=\"" << y << "\" width=\"" << width << "\" height=\"" << height
       << "\" fill=\"" << fill << '"';
  if (stroke != "none") out_ << " stroke=\"" << stroke << "\" stroke-width=\"0.7\"";
  if (tooltip.empty()) {
    out_ << "/>\n";
  } else {
    out_ << "><title>" << xml_escaped(tooltip) << "</title></rect>\n";
  }
}

void SvgCanvas::line(double x1, double y1, double x2, double y2, std::string_view stroke,
                     bool dashed) {
  out_ << "<line x1=\"" << x1 << "\" y1=\"" << y1 << "\" x2=\"" << x2 << "\" y2=\"" << y2
       << "\" stroke=\"" << stroke << "\" stroke-width=\"1.2\"";
  if (dashed) out_ << " stroke-dasharray=\"5 3\"";
  out_ << "/>\n";
}

void SvgCanvas::text(double x, double y, std::string_view words, const TextLook& look) {
  out_ << "<text x=\"" << x << "\" y=\"" << y << "\" font-size=\"" << look.size
       << "\" text-anchor=\"" << look.anchor << "\" fill=\"" << look.fill << '"';
  if (look.bold) out_ << " font-weight=\"bold\"";
  out_ << '>' << xml_escaped(words) << "</text>\n";
}

void SvgCanvas::hatching(std::string_view id, std::string_view background, std::string_view lines) {
  out_ << "<defs><pattern id=\"" << id
       << "\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
          "patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\""
       << background << "\"/><line x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" stroke=\"" << lines
       << "\" stroke-width=\"2\"/></pattern></defs>\n";
}

std::string SvgCanvas::finish() {
  out_ << "</svg>\n";
  return out_.str();
}

}  // namespace shoehorn
