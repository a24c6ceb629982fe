#include "base/cgroup.h"

#include <charconv>
#include <fstream>
#include <sstream>
#include <utility>

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

bool list_contains(std::string_view comma_separated, std::string_view word) {
  while (!comma_separated.empty()) {
    const std::size_t comma = comma_separated.find(',');
    if (comma_separated.substr(0, comma) == word) return true;
    if (comma == std::string_view::npos) break;
    comma_separated.remove_prefix(comma + 1);
  }
  return false;
}

// mountinfo writes blanks, newlines and backslashes as \ooo.
std::string unescape(std::string_view text) {
  std::string plain;
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
        is_octal(text[i + 3])) {
      plain.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                        (text[i + 3] - '0')));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

struct Mount {
  fs::path root;   // the group that the mount point shows
  fs::path point;  // absolute
};

// 31 25 0:28 /docker/a1 /sys/fs/cgroup/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
std::vector<Mount> cgroup_mounts(const fs::path& root, bool v2, std::string_view controller) {
  std::vector<Mount> mounts;
  std::ifstream file(root / "proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash));
    std::istringstream after(line.substr(dash + 3));
    std::string id, parent, device, mount_root, point, type, source, options;
    if (!(before >> id >> parent >> device >> mount_root >> point)) continue;
    if (!(after >> type >> source >> options)) continue;
    const bool wanted =
        v2 ? type == "cgroup2" : type == "cgroup" && list_contains(options, controller);
    if (wanted) mounts.push_back({unescape(mount_root), unescape(point)});
  }
  return mounts;
}

// This process's group in v2's hierarchy, or in the v1 hierarchy with the controller.
std::optional<fs::path> own_group(const fs::path& root, bool v2, std::string_view controller) {
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // 4:memory,cpu:/docker/a1 or 0::/user.slice
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers =
        std::string_view(line).substr(first + 1, second - first - 1);
    const bool wanted =
        v2 ? controllers.empty() && line.starts_with("0:") : list_contains(controllers, controller);
    if (wanted) return fs::path(line.substr(second + 1));
  }
  return std::nullopt;
}

bool goes_up(const fs::path& path) {
  for (const fs::path& part : path) {
    if (part == "..") return true;
  }
  return false;
}

// The group relative to what the mount shows; empty for the mount itself. A group outside of what
// is shown (another cgroup namespace) leaves us with the mount's own limits.
fs::path relative_group(const fs::path& group, const fs::path& mount_root) {
  if (goes_up(group) || goes_up(mount_root)) return {};
  const fs::path relative = group.lexically_relative(mount_root);
  return relative.empty() || relative == "." || goes_up(relative) ? fs::path() : relative;
}

void add_folders(const fs::path& root, bool v2, std::string_view controller,
                 std::vector<CgroupFolder>& folders) {
  const std::optional<fs::path> group = own_group(root, v2, controller);
  if (!group) return;
  std::error_code error;
  for (const Mount& mount : cgroup_mounts(root, v2, controller)) {
    const fs::path top = root / mount.point.relative_path();
    fs::path relative = relative_group(*group, mount.root);
    if (!fs::is_directory(top / relative, error)) relative.clear();
    if (!fs::is_directory(top, error)) continue;
    for (; !relative.empty(); relative = relative.parent_path()) {
      folders.push_back({top / relative, v2});
    }
    folders.push_back({top, v2});
    return;
  }
}

}  // namespace

std::vector<CgroupFolder> cgroup_folders(std::string_view controller, const fs::path& root) {
  std::vector<CgroupFolder> folders;
  add_folders(root, /*v2=*/false, controller, folders);
  add_folders(root, /*v2=*/true, controller, folders);
  return folders;
}

std::optional<std::string> read_first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  line.erase(line.find_last_not_of(" \t\r\n") + 1);
  return line;
}

std::optional<std::uint64_t> parse_leading_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

}  // namespace shoehorn
