// A config.json whose weights are not there: its sizes and where it would go can be told all the
// same, as transformers tells them of a model on the meta device.
#pragma once

#include <string>

#include "shoehorn/options.h"

namespace shoehorn {

/// What to open, and how.
struct ModelRequest {
  std::string model;
  LoadOptions options;
};

/// For commands that read no weights: `model` itself, but a folder that has a config.json and no
/// weights, or a config.json, becomes a synthetic model of that config, and a note says so.
ModelRequest allow_config_alone(const std::string& model, const LoadOptions& options);

}  // namespace shoehorn
