// A user's device map: read and checked against a small tree, or refused with an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shoehorn/error.h"

#include "plan/custom_map.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace shoehorn;
  static const ModuleTree module_tree = [] {
    const Module linear{.class_name = "Linear", .parameters = {{"weight", {4, 4}, DType::kF32}}};
    Module layers{.class_name = "ModuleList", .children = {{"0", linear}, {"1", linear}}};
    Module model{.class_name = "Model", .children = {{"embed", linear}, {"layers", layers}}};
    Module root{.class_name = "LM", .children = {{"model", model}, {"lm_head", linear}}};
    return ModuleTree{.root = root, .ties = {{"model.embed.weight", "lm_head.weight"}}};
  }();
  static const PlanTree tree(module_tree);
  try {
    const WrittenMap map = parse_device_map_json({reinterpret_cast<const char*>(data), size});
    check_written_map(map, tree, {.accelerators = {.cuda = 1, .virtual_devices = 1}});
  } catch (const Error&) {
    // Refused with a message; any other exception is a bug.
  }
  return 0;
}
