// generation_config.json from a stranger: parsed into values that are in range and usable, or
// refused with a FormatError.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "shoehorn/error.h"

#include "generate/generation_config.h"
#include "generate/logits_processor.h"
#include "generate/sampler.h"
#include "generate/stop_strings.h"

namespace {

// What parses must also run: every processor takes the values as they are.
void use(const shoehorn::GenerationConfig& config) {
  const shoehorn::GenerationConfig same = shoehorn::with_overrides(config, {});
  if (same.do_sample != config.do_sample) std::abort();
  const std::vector<float> logits = {0.5f, -1.0f, 2.0f, 0.5f, -3.0f};
  shoehorn::LogitsProcessor processor(config, 1);
  try {
    const auto penalized = processor.penalized(std::vector<std::int32_t>{0, 4}, logits);
    if (shoehorn::Sampler(1).draw(processor.candidates(penalized)) >= 5) std::abort();
  } catch (const shoehorn::Error&) {
    // A penalty or temperature may take every logit out of float32.
  }
  try {
    shoehorn::StopStrings stops(config.stop_strings);
    stops.push("some text");
  } catch (const shoehorn::ArgumentError&) {
    // JSON cannot hold half a character, so this must not happen.
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    shoehorn::UnusedGenerationKeys unused;
    use(shoehorn::parse_generation_config(text, "generation_config.json", &unused));
  } catch (const shoehorn::FormatError&) {
  }
  try {
    shoehorn::generation_config_from_model_config(text, "config.json");
  } catch (const shoehorn::FormatError&) {
  }
  return 0;
}
