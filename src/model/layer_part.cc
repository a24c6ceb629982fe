#include "model/layer_part.h"

namespace shoehorn {

Module linear_module(std::int64_t out, std::int64_t in, bool bias, DType dtype) {
  Module module{.class_name = "Linear", .parameters = {{"weight", Shape{out, in}, dtype}}};
  if (bias) module.parameters.push_back({"bias", Shape{out}, dtype});
  return module;
}

Module norm_module(const std::string& class_name, std::int64_t width, DType dtype) {
  return {.class_name = class_name, .parameters = {{"weight", Shape{width}, dtype}}};
}

void add_linear_names(const std::string& path, const std::string& name, bool bias,
                      std::vector<std::string>& weights) {
  weights.push_back(path + "." + name + ".weight");
  weights.push_back(bias ? path + "." + name + ".bias" : "");
}

}  // namespace shoehorn
