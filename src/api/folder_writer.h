// Writes a model as the folder that transformers would save: quantized by bitsandbytes' rules, or
// plain.
#pragma once

#include <filesystem>

#include "shoehorn/quantize.h"

#include "api/prepare.h"

namespace shoehorn {

/// Every parameter of `opened` under its own name, tied ones once, in the type that it has there;
/// GGUF's blocks become float32. With `options.dequantize` quantized weights become plain ones. One
/// weight at a time is in memory. config.json says what was written, other small files are copied.
/// The folder appears under its name when it is complete. Throws what quantize() throws.
QuantizeReport write_model_folder(const OpenedModel& opened, const QuantizeOptions& options,
                                  const std::filesystem::path& out);

}  // namespace shoehorn
