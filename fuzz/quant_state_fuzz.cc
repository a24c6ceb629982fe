// Any text as the JSON of a quant_state: a state that is sane and is written and read again the
// same, or an Error.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shoehorn/error.h"

#include "quant/quant_state.h"
#include "quant/weight_form.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  try {
    const shoehorn::QuantState state = shoehorn::parse_quant_state(json, "w");
    const shoehorn::WeightForm form{.quant_type = state.quant_type,
                                    .dtype = state.dtype,
                                    .blocksize = state.blocksize,
                                    .nested = state.nested.has_value()};
    if (!form.is_four_bit() || !shoehorn::form_bytes(form, state.shape)) std::abort();
    if (shoehorn::parse_quant_state(shoehorn::quant_state_json(state), "w") != state) std::abort();
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
