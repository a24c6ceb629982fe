#include "api/config_alone.h"

#include <filesystem>
#include <system_error>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/model_path.h"
#include "checkpoint/weights_file.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

bool is_config_alone(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    return fs::exists(path / "config.json", ignored) && !has_weights(path);
  }
  return path.filename() == "config.json" && fs::exists(path, ignored);
}

}  // namespace

ModelRequest allow_config_alone(const std::string& model, const LoadOptions& options) {
  ModelRequest request{.model = model, .options = options};
  if (options.synthetic || !options.config.empty()) return request;
  fs::path path;
  try {
    path = resolve_model_path(model);
  } catch (const FileError&) {
    return request;  // opening it says where it was looked for
  }
  if (!is_config_alone(path)) return request;
  // A bare name could be that of a built-in shape.
  request.model = path.has_parent_path() ? path.string() : (fs::path(".") / path).string();
  request.options.synthetic = true;
  if (options.on_note) {
    options.on_note(str_cat(path.string(), " has no weights: sizes are what config.json says"));
  }
  return request;
}

}  // namespace shoehorn
