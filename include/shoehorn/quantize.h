// A model folder in 8 or 4 bits that transformers + bitsandbytes open, and the way back.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "shoehorn/options.h"

namespace shoehorn {

struct QuantizeOptions {
  /// dtype, quantization_config, max_memory, threads and the rest as for loading; devices do not
  /// matter. Ties between bitsandbytes' own versions are broken as its CPU does. Experts of a
  /// mixture stay as they are, as transformers keeps them, unless load.quantize_experts asks for
  /// them too: then only shoehorn reads the folder.
  LoadOptions load = {.bnb_parity = "cpu", .quantize_experts = false};
  /// Files are cut so that none is larger: "50GB", "500MiB".
  std::string max_shard_size = "50GB";
  /// The other way: a quantized checkpoint becomes a plain one.
  bool dequantize = false;
};

struct QuantizeReport {
  std::size_t read_bytes = 0;     // of weights, from the model's files
  std::size_t written_bytes = 0;  // of tensors
  std::size_t quantized = 0;      // weights that were quantized, or dequantized
  std::size_t kept = 0;           // other tensors
  double seconds = 0;
};

/// Writes the model as a folder `out`: names, shapes, dtypes and quantization_config as
/// transformers and bitsandbytes save them, tokenizer and other small files copied. One weight at a
/// time is in memory. The folder appears under its name when it is complete. Throws ArgumentError
/// where nothing is asked for or `out` exists, PlanError where the limit does not hold the largest
/// weight, FileError, FormatError, UnsupportedError.
QuantizeReport quantize(const std::string& model, const std::filesystem::path& out,
                        const QuantizeOptions& options);

}  // namespace shoehorn
