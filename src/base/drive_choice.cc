#include "base/drive_choice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <random>
#include <span>
#include <sstream>
#include <utility>

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "shoehorn/error.h"

#include "base/disk_probe.h"
#include "base/str_cat.h"
#include "base/written_file.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kVersion = "1";
constexpr std::uint64_t kMostBytes = 1U << 20;  // of the file with the choices
// Below this a pass is over before a better way of reading would have paid for the probe.
constexpr std::uint64_t kWorthAProbe = std::uint64_t{1} << 30;
constexpr std::uint64_t kProbeBytes = std::uint64_t{192} << 20;  // each way
constexpr double kProbeSeconds = 0.25;
constexpr double kClearlyFaster = 1.08;
constexpr double kDaysKept = 30;

std::string device_of(const File& file) {
  struct stat status {};
  struct statvfs system {};
  if (::fstat(file.fd(), &status) != 0 || ::fstatvfs(file.fd(), &system) != 0) return {};
  std::ostringstream id;
  id << major(status.st_dev) << ':' << minor(status.st_dev) << '-' << std::hex << system.f_fsid;
  return id.str();
}

std::string date_of(std::time_t time) {
  std::tm day{};
  ::gmtime_r(&time, &day);
  std::array<char, 16> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d", &day);
  return text.data();
}

/// Nothing that is not a day of the last month.
bool is_recent(const std::string& date) {
  const std::time_t now = std::time(nullptr);
  const std::string oldest = date_of(now - static_cast<std::time_t>(kDaysKept * 24 * 3600));
  return date >= oldest && date <= date_of(now);
}

std::string line_of(const DriveChoice& choice) {
  return str_cat(kVersion, " ", choice.device, " ", path_name(choice.io), " ", choice.io.read_bytes,
                 " ", choice.io.reads_in_flight, " ", std::llround(choice.bytes_per_s), " ",
                 choice.date, "\n");
}

std::optional<DriveChoice> parse_line(const std::string& line) {
  std::istringstream words(line);
  std::string version;
  std::string path;
  DriveChoice choice;
  words >> version >> choice.device >> path >> choice.io.read_bytes >> choice.io.reads_in_flight >>
      choice.bytes_per_s >> choice.date;
  if (!words || version != kVersion || !set_path(choice.io, path)) return std::nullopt;
  const std::size_t read_bytes = choice.io.read_bytes;
  if (read_bytes == 0 || read_bytes % kIoAlignment != 0 || read_bytes > (std::size_t{64} << 20) ||
      choice.io.reads_in_flight < 1 || choice.io.reads_in_flight > 256 ||
      !(choice.bytes_per_s > 0)) {
    return std::nullopt;
  }
  return choice;
}

void remember(const DriveChoice& choice, const fs::path& path) {
  std::vector<DriveChoice> choices = read_drive_choices(path);
  std::erase_if(choices, [&](const DriveChoice& old) { return old.device == choice.device; });
  choices.push_back(choice);
  std::string text;
  for (const DriveChoice& kept : choices) text += line_of(kept);
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  try {
    WrittenFile file(path);
    file.write(std::as_bytes(std::span(text)));
    file.commit();
  } catch (const Error&) {
    // Found again next time.
  }
}

}  // namespace

fs::path drive_choices_path() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return fs::path(cache) / "shoehorn" / "drives";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return fs::path(home) / ".cache" / "shoehorn" / "drives";
  }
  return {};
}

std::vector<DriveChoice> parse_drive_choices(std::string_view text) {
  std::vector<DriveChoice> choices;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (auto choice = parse_line(line)) choices.push_back(std::move(*choice));
  }
  return choices;
}

std::vector<DriveChoice> read_drive_choices(const fs::path& path) {
  std::error_code error;
  if (path.empty() || !fs::exists(path, error)) return {};
  try {
    return parse_drive_choices(read_text_file(path, kMostBytes));
  } catch (const Error&) {
    return {};
  }
}

DriveChoice probe_drive(const File& file) {
  const IoMode usual{};
  IoMode small = usual;
  small.read_bytes = std::size_t{1} << 20;
  IoMode large = usual;
  large.read_bytes = std::size_t{4} << 20;
  large.reads_in_flight = 4;
  IoMode buffered = usual;
  buffered.direct = false;
  const std::array<IoMode, 4> modes = {usual, small, large, buffered};
  // Parts of their own, from a random place on: what storage has just read it reads faster.
  const std::uint64_t part = std::min(kProbeBytes, file.size() / modes.size());
  const std::uint64_t room = file.size() - part * modes.size();
  std::random_device random;
  std::uint64_t begin =
      std::uniform_int_distribution<std::uint64_t>(0, room)(random) / kIoAlignment * kIoAlignment;
  DriveChoice choice{.device = device_of(file), .io = usual, .date = date_of(std::time(nullptr))};
  for (const IoMode& mode : modes) {
    const TimedReads what{.begin = begin,
                          .end = begin + part,
                          .first = begin,
                          .bytes = part,
                          .max_seconds = kProbeSeconds};
    const double rate = time_reads(file, mode, what).bytes_per_s();
    begin += part / kIoAlignment * kIoAlignment;
    if (mode == usual || rate > kClearlyFaster * choice.bytes_per_s) {
      choice.io = mode;
      choice.bytes_per_s = rate;
    }
  }
  return choice;
}

DriveChoice probe_and_remember(const File& file, const fs::path& choices_path) {
  DriveChoice choice = probe_drive(file);
  if (!choices_path.empty() && !choice.device.empty()) remember(choice, choices_path);
  return choice;
}

std::optional<DriveChoice> remembered_drive(const File& file, const fs::path& choices_path) {
  const std::string device = device_of(file);
  for (DriveChoice& choice : read_drive_choices(choices_path)) {
    if (choice.device == device && is_recent(choice.date)) return std::move(choice);
  }
  return std::nullopt;
}

IoMode choose_io(const File& file, const fs::path& choices_path) {
  if (const auto forced = forced_io_mode()) return *forced;
  if (const auto known = remembered_drive(file, choices_path)) return known->io;
  if (file.size() < kWorthAProbe) return {};
  return probe_and_remember(file, choices_path).io;
}

}  // namespace shoehorn
