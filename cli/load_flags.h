// The options that every command that loads or plans a model takes.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "shoehorn/options.h"

namespace shoehorn::cli {

/// What the flags fill; `load()` turns it into LoadOptions.
struct LoadFlags {
  std::string model;
  std::string max_memory;             // "0=10GiB,cpu=6GiB"
  std::string no_split;               // "A,B"
  std::string tier_dtype;             // "disk=nf4,cpu=int8"
  std::vector<std::string> adapters;  // "DIR" or "DIR=0.5"
  BitsAndBytesConfig quantization;
  std::string compute_dtype;  // --bnb-4bit-compute-dtype; empty: not given
  double threshold = 6.0;
  bool says_quant_type = false;
  bool says_threshold = false;
  LoadOptions options;

  /// Throws ArgumentError for a --max-memory that cannot be read.
  LoadOptions load() const;
};

/// Adds MODEL and the placement and dtype options to a command.
void add_load_flags(CLI::App& command, LoadFlags& flags);

}  // namespace shoehorn::cli
