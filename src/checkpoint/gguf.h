// GGUF v2 and v3: metadata as config and tokenizer, tensors under Hugging Face's names.
#pragma once

#include <filesystem>

#include "checkpoint/checkpoint.h"

namespace shoehorn {

/// Opens a .gguf file; the first of several parts (name-00001-of-00003.gguf) finds the others.
/// Reads the header only. Throws FileError, FormatError or UnsupportedError with file and tensor.
Checkpoint::Parts open_gguf(const std::filesystem::path& path);

}  // namespace shoehorn
