#include "text/jinja_strftime.h"

#include <array>
#include <charconv>

#include "base/str_cat.h"

namespace shoehorn::jinja {
namespace {

constexpr std::array<std::string_view, 12> kMonths = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};
constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};

bool is_leap(int year) {
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

int days_in_month(int year, int month) {
  constexpr std::array<int, 12> kDaysOf = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return kDaysOf[static_cast<std::size_t>(month)] + (month == 1 && is_leap(year) ? 1 : 0);
}

int day_of_year(const std::tm& t) {
  int day = t.tm_mday;
  for (int month = 0; month < t.tm_mon; ++month) day += days_in_month(t.tm_year + 1900, month);
  return day;
}

// 0 is Sunday (Sakamoto).
int weekday(const std::tm& t) {
  constexpr std::array<int, 12> kShift = {0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4};
  const int year = t.tm_year + 1900 - (t.tm_mon < 2 ? 1 : 0);
  return (year + year / 4 - year / 100 + year / 400 + kShift[static_cast<std::size_t>(t.tm_mon)] +
          t.tm_mday) %
         7;
}

struct IsoWeek {
  int year;
  int week;
};

IsoWeek iso_week(const std::tm& t) {
  const int year = t.tm_year + 1900;
  const int day = day_of_year(t) - 1;
  const int monday_based = (weekday(t) + 6) % 7;
  const int week = (day - monday_based + 10) / 7;
  const auto weeks_of = [](int y) {
    std::tm last{};
    last.tm_year = y - 1900;
    last.tm_mon = 11;
    last.tm_mday = 31;
    const int end = weekday(last);
    last.tm_mon = 0;
    last.tm_mday = 1;
    return end == 4 || weekday(last) == 4 ? 53 : 52;
  };
  if (week < 1) return {.year = year - 1, .week = weeks_of(year - 1)};
  if (week > weeks_of(year)) return {.year = year + 1, .week = 1};
  return {.year = year, .week = week};
}

std::string padded(int value, std::size_t width, char pad, char flag) {
  std::string digits = std::to_string(value);
  if (flag == '-') return digits;
  if (flag == '_') pad = ' ';
  if (flag == '0') pad = '0';
  if (digits.size() < width) digits.insert(0, width - digits.size(), pad);
  return digits;
}

void append(std::string& out, const std::tm& t, char code, char flag, std::string_view whole) {
  const int year = t.tm_year + 1900;
  const int hour12 = t.tm_hour % 12 == 0 ? 12 : t.tm_hour % 12;
  const std::string_view month = kMonths[static_cast<std::size_t>(t.tm_mon)];
  const std::string_view day = kDays[static_cast<std::size_t>(weekday(t))];
  const auto all = [&](std::string_view codes) {
    for (const char c : codes) {
      if (c >= 'A') {
        append(out, t, c, '\0', {});
      } else {
        out += c;
      }
    }
  };
  switch (code) {
    case 'a': out += day.substr(0, 3); return;
    case 'A': out += day; return;
    case 'b':
    case 'h': out += month.substr(0, 3); return;
    case 'B': out += month; return;
    case 'C': out += padded(year / 100, 2, '0', flag); return;
    case 'c': all("a b e H:M:S Y"); return;
    case 'd': out += padded(t.tm_mday, 2, '0', flag); return;
    case 'D':
    case 'x': all("m/d/y"); return;
    case 'e': out += padded(t.tm_mday, 2, ' ', flag); return;
    case 'f': out += "000000"; return;
    case 'F': all("Y-m-d"); return;
    case 'G': out += padded(iso_week(t).year, 4, '0', flag); return;
    case 'g': out += padded(iso_week(t).year % 100, 2, '0', flag); return;
    case 'H': out += padded(t.tm_hour, 2, '0', flag); return;
    case 'I': out += padded(hour12, 2, '0', flag); return;
    case 'j': out += padded(day_of_year(t), 3, '0', flag); return;
    case 'k': out += padded(t.tm_hour, 2, ' ', flag); return;
    case 'l': out += padded(hour12, 2, ' ', flag); return;
    case 'm': out += padded(t.tm_mon + 1, 2, '0', flag); return;
    case 'M': out += padded(t.tm_min, 2, '0', flag); return;
    case 'n': out += '\n'; return;
    case 'p': out += t.tm_hour < 12 ? "AM" : "PM"; return;
    case 'P': out += t.tm_hour < 12 ? "am" : "pm"; return;
    case 'r': all("I:M:S p"); return;
    case 'R': all("H:M"); return;
    case 'S': out += padded(t.tm_sec, 2, '0', flag); return;
    case 't': out += '\t'; return;
    case 'T':
    case 'X': all("H:M:S"); return;
    case 'u': out += std::to_string(weekday(t) == 0 ? 7 : weekday(t)); return;
    case 'U': out += padded((day_of_year(t) - 1 + 7 - weekday(t)) / 7, 2, '0', flag); return;
    case 'V': out += padded(iso_week(t).week, 2, '0', flag); return;
    case 'w': out += std::to_string(weekday(t)); return;
    case 'W':
      out += padded((day_of_year(t) - 1 + 7 - (weekday(t) + 6) % 7) / 7, 2, '0', flag);
      return;
    case 'y': out += padded(year % 100, 2, '0', flag); return;
    case 'Y': out += std::to_string(year); return;
    case 'z':
    case 'Z': return;  // a local time without zone
    case '%': out += '%'; return;
    default: out += whole; return;
  }
}

}  // namespace

std::string strftime(Budget& budget, const std::tm& now, std::string_view format) {
  budget.spend(format.size());
  std::string out;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    const std::size_t begin = i++;
    char flag = '\0';
    if ((format[i] == '-' || format[i] == '_' || format[i] == '0') && i + 1 < format.size()) {
      flag = format[i++];
    }
    append(out, now, format[i], flag, format.substr(begin, i + 1 - begin));
    budget.check_size(out.size());
  }
  return out;
}

bool parse_time(std::string_view text, std::tm& time) {
  std::array<int, 6> parts{};
  constexpr std::array<std::size_t, 6> kBegin = {0, 5, 8, 11, 14, 17};
  constexpr std::array<std::size_t, 6> kSize = {4, 2, 2, 2, 2, 2};
  if (text.size() < 19 || text[4] != '-' || text[7] != '-' ||
      (text[10] != 'T' && text[10] != ' ') || text[13] != ':' || text[16] != ':') {
    return false;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const char* begin = text.data() + kBegin[i];
    const char* end = begin + kSize[i];
    if (*begin == '-' || std::from_chars(begin, end, parts[i]).ptr != end) return false;
  }
  if (parts[0] < 1 || parts[1] < 1 || parts[1] > 12 || parts[2] < 1 ||
      parts[2] > days_in_month(parts[0], parts[1] - 1) || parts[3] > 23 || parts[4] > 59 ||
      parts[5] > 59) {
    return false;
  }
  time = {};
  time.tm_year = parts[0] - 1900;
  time.tm_mon = parts[1] - 1;
  time.tm_mday = parts[2];
  time.tm_hour = parts[3];
  time.tm_min = parts[4];
  time.tm_sec = parts[5];
  return true;
}

}  // namespace shoehorn::jinja
