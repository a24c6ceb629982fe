// What the hub says of a repository: its commit and its files.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shoehorn::hub {

/// A name that may become a path below a folder: components without "..", ".", backslashes, control
/// characters, none of them empty or longer than 255 bytes, at most 16.
bool is_safe_file_name(std::string_view name);

struct Repository {
  std::string commit;
  std::vector<std::string> files;  // safe names, sorted
};

/// Of the JSON that /api/models/ORG/NAME/revision/REVISION answers. `place` names it in errors.
/// Throws FormatError where it is broken, names something unsafe, or goes on for ever.
Repository parse_repository(std::string_view json, const std::string& place);

/// The shards that a *.index.json names, sorted; each must be a safe name without a folder. Throws
/// FormatError.
std::vector<std::string> parse_shard_names(std::string_view json, const std::string& place);

}  // namespace shoehorn::hub
