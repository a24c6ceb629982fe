#include "plan/case_json.h"

#include <cmath>
#include <cstdint>
#include <optional>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/dtype_bytes.h"

namespace shoehorn {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 64;

[[noreturn]] void fail(const std::string& where, const std::string& expected, const Json& found) {
  std::string text = found.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  throw FormatError(str_cat(where, ": expected ", expected, ", found ", text));
}

std::string as_text(const Json& value, const std::string& where) {
  if (!value.is_string()) fail(where, "text", value);
  return value.get<std::string>();
}

bool as_flag(const Json& value, const std::string& where) {
  if (!value.is_boolean()) fail(where, "true or false", value);
  return value.get<bool>();
}

PyNumber as_number(const Json& value, const std::string& where) {
  if (!value.is_number()) fail(where, "a number", value);
  return {value.get<double>(), value.is_number_float()};
}

// The member of that name, or nullptr where it is absent or null.
const Json* member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Shape as_shape(const Json& value, const std::string& where) {
  if (!value.is_array()) fail(where, "a shape", value);
  std::vector<std::int64_t> dims;
  for (const Json& dim : value) {
    const bool fits = dim.is_number_integer() &&
                      !(dim.is_number_unsigned() && dim.get<std::uint64_t>() > INT64_MAX);
    if (!fits || dim.get<std::int64_t>() < 0) fail(where, "dimensions that are not negative", dim);
    dims.push_back(dim.get<std::int64_t>());
    if (dims.size() > Shape::kMaxRank) {
      throw FormatError(str_cat(where, ": more than ", Shape::kMaxRank, " dimensions"));
    }
  }
  return Shape(dims);
}

class TreeReader {
 public:
  TreeReader(std::string where, SizeOptions& sizes) : where_(std::move(where)), sizes_(sizes) {}

  Module read_module(const Json& node, const std::string& path, int depth) {
    const std::string where = str_cat(where_, ": tree", path.empty() ? "" : " at ", path);
    if (!node.is_object()) fail(where, "a module object", node);
    if (depth > kMaxDepth) {
      throw FormatError(str_cat(where_, ": modules nested more than ", kMaxDepth, " deep"));
    }
    Module module;
    if (const Json* name = member(node, "class")) module.class_name = as_text(*name, where);
    const std::string prefix = path.empty() ? "" : path + ".";
    for_each_in(node, "params", where, 3, [&](const Json& entry) {
      ParameterSpec spec;
      read_tensor(entry, prefix, where, spec.name, spec.shape, spec.dtype);
      module.parameters.push_back(std::move(spec));
    });
    for_each_in(node, "buffers", where, 4, [&](const Json& entry) {
      BufferSpec spec;
      read_tensor(entry, prefix, where, spec.name, spec.shape, spec.dtype);
      spec.persistent = as_flag(entry[3], where);
      module.buffers.push_back(std::move(spec));
    });
    for_each_in(node, "children", where, 2, [&](const Json& entry) {
      const std::string name = as_text(entry[0], where);
      if (prefix.size() + name.size() > 1000) {
        throw FormatError(str_cat(where_, ": a module path longer than 1000 characters"));
      }
      module.children.emplace_back(name, read_module(entry[1], prefix + name, depth + 1));
    });
    return module;
  }

 private:
  template <typename Function>
  void for_each_in(const Json& node, const char* name, const std::string& where, std::size_t length,
                   const Function& function) {
    const Json* list = member(node, name);
    if (list == nullptr) return;
    if (!list->is_array()) fail(str_cat(where, ": ", name), "an array", *list);
    for (const Json& entry : *list) {
      if (!entry.is_array() || entry.size() != length) {
        fail(str_cat(where, ": ", name), str_cat("arrays of ", length), entry);
      }
      function(entry);
    }
  }

  void read_tensor(const Json& entry, const std::string& prefix, const std::string& where,
                   std::string& name, Shape& shape, DType& dtype) {
    name = as_text(entry[0], where);
    shape = as_shape(entry[1], str_cat(where, ": ", name));
    const std::string dtype_name = as_text(entry[2], where);
    if (const auto known = dtype_from_torch_name(dtype_name)) {
      dtype = *known;
      return;
    }
    try {
      accelerate_dtype_bytes(dtype_name);
    } catch (const ArgumentError& error) {
      throw FormatError(str_cat(where, ": ", name, ": ", error.what()));
    }
    dtype = DType::kU8;
    sizes_.own_dtypes[prefix + name] = dtype_name;
  }

  std::string where_;
  SizeOptions& sizes_;
};

std::vector<Tie> read_ties(const Json& tree, const std::string& where) {
  std::vector<Tie> ties;
  const Json* list = member(tree, "ties");
  if (list == nullptr) return ties;
  if (!list->is_array()) fail(where + ": ties", "an array", *list);
  for (const Json& entry : *list) {
    if (!entry.is_array() || entry.size() != 2) fail(where + ": ties", "pairs of paths", entry);
    ties.push_back({.owner = as_text(entry[0], where), .alias = as_text(entry[1], where)});
  }
  return ties;
}

MaxMemory read_max_memory(const Json& object, const std::string& where) {
  if (!object.is_object()) fail(where, "an object", object);
  MaxMemory memory;
  for (const auto& [device, amount] : object.items()) {
    if (amount.is_string()) {
      memory.emplace_back(device, amount.get<std::string>());
    } else {
      memory.emplace_back(device, as_number(amount, str_cat(where, ": ", device)));
    }
  }
  return memory;
}

ClassNames read_no_split(const Json& value, const std::string& where) {
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) fail(where, "a class name or an array of them", value);
  ClassNames names;
  for (const Json& name : value) names.insert(as_text(name, where));
  return names;
}

void read_quant(const Json& quant, const std::string& where, ReferenceRequest& request) {
  if (!quant.is_object()) fail(where, "an object", quant);
  if (const Json* reserve = member(quant, "reserve")) {
    request.quantizer_share = as_number(*reserve, where + ": reserve").value;
  }
  if (const Json* sizes = member(quant, "element_size")) {
    if (!sizes->is_object()) fail(where + ": element_size", "an object", *sizes);
    for (const auto& [tensor, bytes] : sizes->items()) {
      const PyNumber number = as_number(bytes, where + ": element_size");
      if (!(number.value >= 0 && number.value <= 1024)) fail(where, "bytes per element", bytes);
      request.sizes.element_size[tensor] = number;
    }
  }
}

void read_device_map(const Json& map, const std::string& where, PlanCase& plan_case) {
  if (!map.is_object()) fail(where, "an object", map);
  for (const auto& [path, device] : map.items()) {
    if (device.is_number_integer()) {
      plan_case.device_map.emplace_back(path, device.get<long long>());
    } else {
      plan_case.device_map.emplace_back(path, as_text(device, str_cat(where, ": ", path)));
    }
  }
}

PlanCase read_case(const Json& object, std::size_t number) {
  std::string where = str_cat("case ", number);
  if (!object.is_object()) fail(where, "an object", object);
  PlanCase c;
  if (const Json* name = member(object, "name")) {
    c.name = as_text(*name, where + ": name");
    where += str_cat(" (", c.name.substr(0, 80), ")");
  }
  const auto text_or = [&](const char* key, const char* otherwise) {
    const Json* value = member(object, key);
    return value == nullptr ? std::string(otherwise) : as_text(*value, str_cat(where, ": ", key));
  };
  const auto flag_or = [&](const char* key, bool otherwise) {
    const Json* value = member(object, key);
    return value == nullptr ? otherwise : as_flag(*value, str_cat(where, ": ", key));
  };
  c.flavour = text_or("flavour", "shoehorn");
  c.strategy = text_or("strategy", "auto");
  const Json* tree = member(object, "tree");
  if (tree == nullptr) throw FormatError(where + ": no \"tree\"");
  c.tree.root = TreeReader(where, c.request.sizes).read_module(*tree, "", 0);
  c.tree.ties = read_ties(*tree, where);

  ReferenceRequest& request = c.request;
  if (const Json* memory = member(object, "max_memory")) {
    request.max_memory = read_max_memory(*memory, where + ": max_memory");
  }
  if (const Json* memory = member(object, "detected_memory")) {
    request.detected = read_max_memory(*memory, where + ": detected_memory");
  }
  if (const Json* names = member(object, "no_split")) {
    request.no_split = read_no_split(*names, where + ": no_split");
    c.tree.no_split_module_classes.assign(request.no_split.begin(), request.no_split.end());
  }
  if (const Json* dtype = member(object, "dtype")) {
    request.sizes.dtype = as_text(*dtype, where + ": dtype");
  }
  if (const Json* special = member(object, "special_dtypes")) {
    if (!special->is_object()) fail(where + ": special_dtypes", "an object", *special);
    for (const auto& [tensor, dtype] : special->items()) {
      request.sizes.special_dtypes[tensor] = as_text(dtype, where + ": special_dtypes");
    }
  }
  request.offload_buffers = flag_or("offload_buffers", false);
  request.fallback_allocation = flag_or("fallback_allocation", false);
  request.clean_result = flag_or("clean", true);
  if (const Json* quant = member(object, "quant")) read_quant(*quant, where + ": quant", request);
  if (const Json* map = member(object, "device_map")) {
    read_device_map(*map, where + ": device_map", c);
  }
  return c;
}

}  // namespace

std::vector<PlanCase> parse_plan_cases(std::string_view json_text) {
  Json json;
  try {
    json = Json::parse(json_text);
  } catch (const Json::exception& error) {
    throw FormatError(str_cat("planning cases: not JSON: ", error.what()));
  }
  const Json* list = &json;
  if (json.is_object() && json.contains("cases")) list = &json["cases"];
  std::vector<PlanCase> cases;
  if (list->is_object()) {
    cases.push_back(read_case(*list, 0));
    return cases;
  }
  if (!list->is_array()) fail("planning cases", "an array of cases, or an object with one", *list);
  for (const Json& entry : *list) cases.push_back(read_case(entry, cases.size()));
  return cases;
}

}  // namespace shoehorn
