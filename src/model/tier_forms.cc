#include "model/tier_forms.h"

#include <optional>
#include <utility>
#include <vector>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

/// The devices that a name stands for.
std::vector<DeviceKey> devices_of_name(const std::string& name, AcceleratorCounts counts,
                                       const std::set<DeviceKey>& assumed) {
  std::vector<DeviceKey> devices;
  if (name == "cuda" || name == "virtual") {
    const int first = name == "cuda" ? 0 : counts.cuda;
    const int end = name == "cuda" ? counts.cuda : counts.total();
    for (int i = first; i < end; ++i) devices.push_back(DeviceKey::accelerator(i));
    if (name == "cuda") devices.insert(devices.end(), assumed.begin(), assumed.end());
    if (devices.empty()) {
      throw ArgumentError(str_cat("tier_dtype: there is no ", name, " device here"));
    }
    return devices;
  }
  const auto key = parse_device(name, counts);
  if (!key || key->kind == DeviceKey::Kind::kMps) {
    throw ArgumentError(
        str_cat("tier_dtype: \"", name,
                "\" is none of disk, cpu, cuda, virtual, or an accelerator's number"));
  }
  if (key->is_accelerator() && (key->index < 0 || key->index >= counts.total()) &&
      !assumed.contains(*key)) {
    throw ArgumentError(str_cat("tier_dtype names accelerator ", key->index,
                                ", but this machine has ", counts.total()));
  }
  return {*key};
}

}  // namespace

TierForms::Tier TierForms::tier_from_name(const std::string& device, const std::string& name) {
  if (name == "auto") return {};
  if (const auto type = quant_type_from_name(name); type && *type != QuantType::kNone) {
    return {.quant_type = *type};
  }
  const auto dtype = dtype_from_torch_name(name);
  if (dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16) {
    return {.dtype = dtype};
  }
  throw ArgumentError(str_cat("tier_dtype: ", device, "=", name,
                              " is not one of auto, float32, bfloat16, float16, int8, nf4, fp4"));
}

TierForms::TierForms(const std::map<std::string, std::string>& tier_dtype, AcceleratorCounts counts,
                     const BitsAndBytesConfig* config, const std::set<DeviceKey>& assumed)
    : nested_(config != nullptr && config->bnb_4bit_use_double_quant) {
  for (const auto& [device, name] : tier_dtype) {
    const Tier tier = tier_from_name(device, name);
    for (const DeviceKey key : devices_of_name(device, counts, assumed)) {
      if (!tiers_.emplace(key, tier).second) {
        throw ArgumentError(str_cat("tier_dtype says twice what device ", to_string(key),
                                    " has: \"", device, "\" is one of them"));
      }
    }
  }
}

WeightForm TierForms::form_of(const ResolvedWeight& weight, DeviceKey device) const {
  const auto found = tiers_.find(device);
  if (found == tiers_.end() || !weight.tiered_dtype) return weight.form;
  const Tier& tier = found->second;
  if (tier.quant_type != QuantType::kNone) {
    const bool four_bit = tier.quant_type != QuantType::kInt8;
    return {.quant_type = tier.quant_type,
            .dtype = *weight.tiered_dtype,
            .nested = four_bit && nested_};
  }
  return tier.dtype ? WeightForm{.dtype = *tier.dtype} : weight.form;
}

namespace {

void set_parameters(Module& module, const std::string& prefix,
                    const std::map<std::string, WeightForm>& forms) {
  for (ParameterSpec& parameter : module.parameters) {
    const auto form = forms.find(prefix + parameter.name);
    if (form == forms.end()) continue;
    parameter.quant_type = form->second.quant_type;
    parameter.dtype = form->second.dtype;
  }
  for (auto& [name, child] : module.children) {
    set_parameters(child, prefix + name + ".", forms);
  }
}

}  // namespace

void set_forms(ResolvedModel& model,
               const std::function<WeightForm(const ResolvedWeight& weight)>& form_of) {
  std::map<std::string, WeightForm> changed;
  model.quant_type = QuantType::kNone;
  for (ResolvedWeight& weight : model.weights) {
    const WeightForm form = form_of(weight);
    if (form != weight.form) {
      weight.form = form;
      changed.emplace(weight.path, form);
    }
    if (model.quant_type == QuantType::kNone) model.quant_type = form.quant_type;
  }
  set_parameters(model.tree.root, "", changed);
}

}  // namespace shoehorn
