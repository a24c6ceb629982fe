// Models from the hub into its local cache, where from_pretrained and huggingface_hub find them.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "shoehorn/cancelled.h"

namespace shoehorn {

struct PullOptions {
  /// Files with weights to take in place of those that would be chosen: patterns with * and ?.
  std::vector<std::string> include = {};
  /// Files at a time.
  int jobs = 4;
  /// Tries without a byte in between before a file is given up, and the wait after the first; it
  /// doubles with every other.
  int attempts = 6;
  double first_delay_s = 1;
  /// Told how many of how many bytes are there. Called from several threads; may be empty.
  std::function<void(std::uint64_t done, std::uint64_t total)> on_progress = {};
  /// Told what is tried again and why. Called from several threads; may be empty.
  std::function<void(const std::string& note)> on_note = {};
  /// Once true, the pull ends by a CancelledError; may be null.
  const std::atomic<bool>* cancelled = nullptr;
};

struct PullReport {
  std::filesystem::path snapshot;  // the model's folder
  std::string commit;
  std::vector<std::string> files;
  std::uint64_t bytes = 0;          // of all files
  std::uint64_t network_bytes = 0;  // that were not there already
  double seconds = 0;
};

/// Fetches "org/name" or "org/name@revision" (a branch, a tag, a commit; "main") with what a model
/// needs: config, tokenizer, templates, and its weights, safetensors before .bin before .gguf. What
/// lies there complete is not fetched again, what broke off goes on. Sizes and hashes are those
/// that the hub names. The environment says, as for huggingface_hub: HF_ENDPOINT, HF_TOKEN (or
/// HF_TOKEN_PATH, HF_HOME/token), HF_HUB_CACHE, HF_HOME, HF_HUB_OFFLINE. The token goes to the
/// endpoint alone. Throws ArgumentError, UnsupportedError, FileError, FormatError, Error.
PullReport pull(const std::string& model, const PullOptions& options = {});

}  // namespace shoehorn
