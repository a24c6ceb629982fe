// Which way of reading a drive is the fastest: found by a short probe, and remembered for each file
// system in the user's cache folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/async_reader.h"
#include "base/file.h"

namespace shoehorn {

/// What a probe found on one file system.
struct DriveChoice {
  std::string device;  // "254:0-8d1f...": the device's numbers and the file system's own
  IoMode io;
  double bytes_per_s = 0;
  std::string date;  // of the probe: "2026-11-26"

  friend bool operator==(const DriveChoice&, const DriveChoice&) = default;
};

/// shoehorn/drives below $XDG_CACHE_HOME or ~/.cache; empty where there is neither.
std::filesystem::path drive_choices_path();

/// The choices that such a file holds, one a line; lines that do not read as one are left out.
std::vector<DriveChoice> parse_drive_choices(std::string_view text);
/// Those of a file; none where it cannot be read.
std::vector<DriveChoice> read_drive_choices(const std::filesystem::path& path);

/// Reads the file in each way for a fraction of a second, at places of their own. The default way
/// is kept unless another is clearly faster. Throws FileError where it cannot be read.
DriveChoice probe_drive(const File& file);
/// probe_drive(), its result put into `choices_path` (if not empty) in place of an earlier one;
/// that a folder cannot be written is no error.
DriveChoice probe_and_remember(const File& file, const std::filesystem::path& choices_path);

/// What was found on the file's file system in the last 30 days.
std::optional<DriveChoice> remembered_drive(const File& file,
                                            const std::filesystem::path& choices_path);

/// How to stream from the file: as SHOEHORN_IO says; as was found on its file system in the last
/// 30 days; as a probe finds now, where it is large enough for one; else the default.
IoMode choose_io(const File& file, const std::filesystem::path& choices_path);

}  // namespace shoehorn
