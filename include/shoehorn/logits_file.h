// Requests for logits and their results as safetensors files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>

#include "shoehorn/model.h"

namespace shoehorn {

/// Reads `input_ids` [B, T] and, where they are there, `attention_mask` and `position_ids` of the
/// same shape (int64 or int32). Throws FileError, FormatError.
LogitsRequest read_logits_request(const std::filesystem::path& path);

/// Writes `logits` float32: [length, vocab_size] for a batch of 1 given as ids, else
/// [batch, length, vocab_size]. Throws FileError.
void write_logits(const std::filesystem::path& path, std::span<const float> logits,
                  std::span<const std::int64_t> shape);

}  // namespace shoehorn
