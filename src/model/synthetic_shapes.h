// The shapes that `--synthetic` knows by name: the config.json of published models, without what
// does not shape them.
#pragma once

#include <string>
#include <string_view>

namespace shoehorn {

/// The config.json of a shape, or empty where no shape has that name.
std::string synthetic_config(std::string_view shape);

/// "llama-1.1b, llama-2-7b, ...".
std::string synthetic_shape_names();

}  // namespace shoehorn
