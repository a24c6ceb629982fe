// config.json's quantization_config: what a checkpoint says of its own quantization.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "shoehorn/quantization.h"

#include "checkpoint/config.h"

namespace shoehorn {

/// The block in config.json, or in the text_config of a model with several parts; nothing where
/// there is none, or it is of fp8 or mxfp4. Unknown keys are ignored, `notes` says so. Throws
/// UnsupportedError for another quant_method (gptq, awq, ...), FormatError for values of the wrong
/// type.
std::optional<BitsAndBytesConfig> parse_quantization_config(const Config& config,
                                                            std::vector<std::string>* notes);

/// What is wrong with values that no quantizer knows: both widths at once, a quant_type that is
/// neither nf4 nor fp4, a negative threshold; nothing where all is well.
std::optional<std::string> find_quantization_problem(const BitsAndBytesConfig& config);

}  // namespace shoehorn
