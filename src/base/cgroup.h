// Where the kernel keeps the limits of the control groups that this process runs in: the folders of
// cgroup v1 and v2, found through /proc as cgroups(7) and proc_pid_mountinfo(5) describe it, also
// from inside a container that sees only a part of the hierarchy.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shoehorn {

/// One control group of the hierarchy.
struct CgroupFolder {
  std::filesystem::path path;
  bool v2;  ///< which version's file names are in it
};

/// The groups whose limits hold for this process under `controller` ("memory", "cpu"), from its own
/// up to the topmost that is visible; v1's first where both versions are mounted. Empty where there
/// is none. `root` is the folder that holds proc/ and sys/.
std::vector<CgroupFolder> cgroup_folders(std::string_view controller,
                                         const std::filesystem::path& root = "/");

/// The first line of a small file of /proc or /sys without trailing blanks, or nothing if it cannot
/// be read.
std::optional<std::string> read_first_line(const std::filesystem::path& path);

/// The decimal number that `text` begins with, or nothing.
std::optional<std::uint64_t> parse_leading_number(std::string_view text);

}  // namespace shoehorn
