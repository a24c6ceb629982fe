// Any text as an adapter's adapter_config.json: a rank and a finite scale for every module, or an
// Error.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "shoehorn/error.h"

#include "checkpoint/peft_adapter.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const shoehorn::PeftConfig config = shoehorn::parse_peft_config(text, "adapter_config.json");
    for (const char* module : {"lm_head", "model.layers.0.self_attn.q_proj", ""}) {
      const auto scale = shoehorn::peft_scale(config, module, "adapter_config.json");
      if (scale.rank < 1 || !std::isfinite(scale.scale)) std::abort();
    }
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
