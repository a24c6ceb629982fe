// datetime.strftime in English, whatever the locale of the process.
#pragma once

#include <ctime>
#include <string>
#include <string_view>

#include "text/jinja_budget.h"

namespace shoehorn::jinja {

/// `now` after `format`; it needs year, month, day, hour, minute and second only. Codes that are
/// not known stay as they are.
std::string strftime(Budget& budget, const std::tm& now, std::string_view format);

/// "2026-11-22T12:34:56", a fraction and a zone behind it ignored; false where it is no such text.
bool parse_time(std::string_view text, std::tm& time);

}  // namespace shoehorn::jinja
