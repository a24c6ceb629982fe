// What is in a checkpoint: its module tree with sizes, what it needs in each dtype, and what fits.
#pragma once

#include <string>

#include "shoehorn/options.h"

namespace shoehorn {

struct InspectReport {
  std::string text;
  std::string json;  // one object, see docs/cli.md
};

/// Reads headers only. Throws FileError, FormatError, UnsupportedError.
InspectReport inspect(const std::string& model, const LoadOptions& options = {});

}  // namespace shoehorn
