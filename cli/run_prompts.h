// run --prompts: many prompts, a line of JSON each, that share passes over the weights.
#pragma once

#include <atomic>
#include <string>

#include "shoehorn/shoehorn.h"

namespace shoehorn::cli {

struct PromptsRequest {
  std::string file;  // - is stdin
  std::string model;
  LoadOptions load;
  bool says_max_batch = false;
  GenerateOptions generate;
  bool stats = false;
};

/// Prints a line of JSON for every line of the file, as it is done. Returns the exit code: 1 where
/// a line was no prompt, 130 where `cancelled` became true. Throws FileError, and what
/// from_pretrained and Model::complete_each throw.
int run_prompts(const PromptsRequest& request, const std::atomic<bool>& cancelled);

}  // namespace shoehorn::cli
