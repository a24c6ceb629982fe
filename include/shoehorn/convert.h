// A plain safetensors folder of any checkpoint that can be read.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "shoehorn/options.h"

namespace shoehorn {

struct ConvertOptions {
  /// dtype, config, adapters (merged), strict, threads and the callbacks as for loading; the rest
  /// does not matter.
  /// dtype "auto" keeps what is stored, but for float64, GGUF's blocks and what bitsandbytes
  /// quantized: these become floats.
  LoadOptions load = {};
  /// Files are cut so that none is larger: "50GB", "500MiB".
  std::string max_shard_size = "50GB";
};

struct ConvertReport {
  std::size_t read_bytes = 0;     // of weights, from the model's files
  std::size_t written_bytes = 0;  // of tensors
  std::size_t tensors = 0;        // that were written
  std::size_t dequantized = 0;    // of these, from 8 or 4 bits of bitsandbytes
  double seconds = 0;
};

/// Writes `model` (safetensors, PyTorch's files, GGUF, an offload folder) as the folder `out`, as
/// transformers' save_pretrained lays it out: model.safetensors or shards with their index,
/// config.json, and what lies beside the weights (tokenizer, generation config); of a GGUF file
/// what is made of its metadata. One weight at a time is in memory. The folder appears under its
/// name when it is complete. Throws ArgumentError where `out` exists or a quantization is asked
/// for, FileError, FormatError, UnsupportedError.
ConvertReport convert(const std::string& model, const std::filesystem::path& out,
                      const ConvertOptions& options = {});

}  // namespace shoehorn
