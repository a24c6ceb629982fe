// The precision of linear weights by where they live (`--tier-dtype disk=nf4,cpu=int8`): what is
// streamed may be smaller than what is resident.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "shoehorn/quantization.h"

#include "model/weight_plan.h"
#include "plan/device_key.h"
#include "quant/weight_form.h"

namespace shoehorn {

class TierForms {
 public:
  /// Nothing: every weight has its usual form everywhere.
  TierForms() = default;
  /// Device ("disk", "cpu", "0", "cuda:0", or all of a kind: "cuda", "virtual") → bfloat16,
  /// float16, float32, int8, nf4, fp4, or auto, the usual form. `config` says whether scales of
  /// four bits are nested. Throws ArgumentError for another word, and for an accelerator that is
  /// not there and not among `assumed`.
  TierForms(const std::map<std::string, std::string>& tier_dtype, AcceleratorCounts counts,
            const BitsAndBytesConfig* config, const std::set<DeviceKey>& assumed = {});

  bool empty() const { return tiers_.empty(); }

  /// The form of a weight that lives on `device`.
  WeightForm form_of(const ResolvedWeight& weight, DeviceKey device) const;

 private:
  struct Tier {
    QuantType quant_type = QuantType::kNone;
    std::optional<DType> dtype = {};  // of a plain form; neither: auto
  };
  static Tier tier_from_name(const std::string& device, const std::string& name);

  std::map<DeviceKey, Tier> tiers_;
  bool nested_ = false;
};

/// Gives every weight the form that `form_of` says, in the list and in the module tree.
void set_forms(ResolvedModel& model,
               const std::function<WeightForm(const ResolvedWeight& weight)>& form_of);

}  // namespace shoehorn
