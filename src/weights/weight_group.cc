#include "weights/weight_group.h"

#include "quant/weight_form.h"

namespace shoehorn {

WeightSpec WeightSpec::matrix(std::int64_t i) const {
  const auto at = static_cast<std::size_t>(i);
  WeightSpec one;
  one.path = path;
  one.shape = stack->matrix;
  one.form = form;
  if (stack->quantized.empty()) {
    one.source = &stack->plain[at];
  } else {
    one.quantized = stack->quantized[at];
  }
  one.compute = compute;
  one.parity = parity;
  one.device = device;
  return one;
}

std::size_t form_bytes(const WeightSpec& weight) {
  return weight.exists() ? form_bytes(weight.form, weight.shape).value() : 0;
}

std::size_t stored_bytes(const WeightSpec& weight) {
  if (weight.cached != nullptr) return form_bytes(weight);
  if (weight.quantized != nullptr) return weight.quantized->stored_bytes();
  if (weight.stack != nullptr) return weight.stack->stored_bytes();
  return weight.source != nullptr ? weight.source->bytes : 0;
}

bool is_streamed(const WeightSpec& weight) {
  return weight.exists() && weight.device.kind == DeviceKind::kDisk && !weight.rows_only &&
         weight.tied_to < 0;
}

std::size_t streamed_stored_bytes(const WeightGroup& group) {
  std::size_t bytes = 0;
  for (const WeightSpec& weight : group.weights) {
    if (is_streamed(weight)) bytes += stored_bytes(weight);
  }
  return bytes;
}

}  // namespace shoehorn
