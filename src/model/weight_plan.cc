#include "model/weight_plan.h"

#include <algorithm>
#include <map>

#include "base/str_cat.h"
#include "checkpoint/validate.h"

namespace shoehorn {
namespace {

/// What `--dtype auto` makes of a stored type.
DType stored_form(DType dtype) {
  return dtype == DType::kF64 ? DType::kF32 : dtype;
}

/// The type that most bytes of the matrices are stored in.
DType main_dtype(const TensorMatch& match, const std::vector<ExpectedTensor>& expected) {
  std::map<DType, std::size_t> bytes;
  for (const ExpectedTensor& tensor : expected) {
    const TensorInfo* info = match.at(tensor.path);
    if (info != nullptr && tensor.shape.rank() >= 2) bytes[stored_form(info->dtype)] += info->bytes;
  }
  const auto most =
      std::ranges::max_element(bytes, {}, [](const auto& entry) { return entry.second; });
  return most == bytes.end() ? DType::kF32 : most->first;
}

std::vector<ExpectedTensor> expected_tensors(const ModuleTree& tree) {
  std::vector<ExpectedTensor> expected;
  for (const TreeTensor& tensor : tree_tensors(tree)) {
    std::string tied_to;
    for (const Tie& tie : tree.ties) {
      if (tie.alias == tensor.path) tied_to = tie.owner;
    }
    expected.push_back({.path = tensor.path,
                        .shape = tensor.shape,
                        .required = !tensor.is_buffer || tensor.persistent,
                        .is_buffer = tensor.is_buffer,
                        .tied_to = tied_to});
  }
  return expected;
}

/// Gives every parameter the type that it has in the checkpoint, or that was asked for.
void set_dtypes(Module& module, const std::string& prefix,
                const std::unordered_map<std::string, const TensorInfo*>& sources,
                std::optional<DType> dtype) {
  for (ParameterSpec& parameter : module.parameters) {
    const auto source = sources.find(prefix + parameter.name);
    if (source == sources.end() || source->second == nullptr) continue;
    parameter.dtype = dtype ? *dtype : stored_form(source->second->dtype);
  }
  for (auto& [name, child] : module.children) {
    set_dtypes(child, prefix + name + ".", sources, dtype);
  }
}

/// Vectors are few and small, and everything computes in float32: they are widened once.
DType form_of(const TensorInfo& info, std::optional<DType> dtype) {
  if (info.shape.rank() < 2) return DType::kF32;
  return dtype ? *dtype : stored_form(info.dtype);
}

}  // namespace

ResolvedModel resolve_model(const Architecture& architecture, const Checkpoint& checkpoint,
                            std::optional<DType> dtype, bool strict) {
  ResolvedModel model;
  model.tree = architecture.module_tree(dtype.value_or(DType::kF32));
  const std::vector<ExpectedTensor> expected = expected_tensors(model.tree);
  const TensorMatch match = match_checkpoint(
      checkpoint, expected,
      {.base_model_prefix = std::string(architecture.base_model_prefix()), .strict = strict});
  if (!match.warning.empty()) model.notes.push_back(match.warning);
  model.dtype = dtype ? *dtype : main_dtype(match, expected);

  std::unordered_map<std::string, const TensorInfo*> sources = match.tensors;
  for (const auto& [owner, alias] : match.stored_twice) {
    const TensorInfo& own = *match.at(alias);
    if (same_bytes(checkpoint, *match.at(owner), own)) {
      sources[alias] = match.at(owner);
      continue;
    }
    std::erase_if(model.tree.ties, [&](const Tie& tie) { return tie.alias == alias; });
    model.notes.push_back(str_cat("config.json ties ", alias, " to ", owner,
                                  ", but the checkpoint has both and they differ: both are kept"));
  }
  set_dtypes(model.tree.root, "", sources, dtype);
  model.groups = architecture.weight_groups();
  for (std::size_t group = 0; group < model.groups.size(); ++group) {
    for (const std::string& path : model.groups[group].weights) {
      if (path.empty()) continue;
      const TensorInfo* source = sources.at(path);
      model.weights.push_back(
          {.path = path, .source = source, .form = form_of(*source, dtype), .group = group});
    }
  }
  return model;
}

std::size_t resident_bytes(const ResolvedWeight& weight) {
  return packed_bytes(weight.form, weight.source->shape.elements()).value();
}

bool is_looked_up(const ResolvedWeight& weight) {
  return weight.group == 0;
}

std::vector<WeightGroup> place_weights(
    const ResolvedModel& model, const std::function<Device(std::string_view path)>& device_of) {
  std::vector<WeightGroup> groups;
  std::unordered_map<const TensorInfo*, int> resident;  // source → position in all groups
  int position = 0;
  auto next = model.weights.begin();
  for (const WeightGroupNames& names : model.groups) {
    WeightGroup& group = groups.emplace_back(WeightGroup{names.name, {}});
    for (const std::string& path : names.weights) {
      WeightSpec& spec = group.weights.emplace_back();
      spec.path = path;
      if (!path.empty()) {
        spec.source = next->source;
        spec.form = next->form;
        spec.device = device_of(path);
        // An embedding on disk is read row by row; the head that shares its bytes is streamed.
        spec.rows_only = is_looked_up(*next);
        const auto owner = resident.find(spec.source);
        if (owner != resident.end()) spec.tied_to = owner->second;
        if (spec.device.kind != DeviceKind::kDisk) resident.emplace(spec.source, position);
        ++next;
      }
      ++position;
    }
  }
  return groups;
}

std::vector<Device> compute_devices(const std::vector<WeightGroup>& groups) {
  std::vector<Device> devices;
  for (const WeightGroup& group : groups) {
    std::vector<std::pair<Device, std::size_t>> bytes;
    for (const WeightSpec& weight : group.weights) {
      const Device device = weight.device.is_accelerator() ? weight.device : Device{};
      auto entry = std::ranges::find(bytes, device, &std::pair<Device, std::size_t>::first);
      if (entry == bytes.end()) entry = bytes.insert(bytes.end(), {device, 0});
      entry->second += form_bytes(weight);
    }
    const auto most = std::ranges::max_element(bytes, {}, &std::pair<Device, std::size_t>::second);
    devices.push_back(most == bytes.end() ? Device{} : most->first);
  }
  return devices;
}

}  // namespace shoehorn
