// Which files of a repository a model needs: what find_weights (checkpoint/weights_file.h) would
// choose if all were there, and the small files beside it.
#pragma once

#include <string>
#include <vector>

namespace shoehorn::hub {

struct Selection {
  std::vector<std::string> files;
  /// An index among them, whose shards are needed too; empty: none.
  std::string index;
};

/// `repository` names its files in `files` (sorted). With `include` patterns (* and ?), the weights
/// are all files that match one. Throws UnsupportedError where there is nothing to run, or a choice
/// to make, and lists it.
Selection select_files(const std::string& repository, const std::vector<std::string>& files,
                       const std::vector<std::string>& include);

}  // namespace shoehorn::hub
