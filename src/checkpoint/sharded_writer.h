// Weights as transformers' save_pretrained lays them out: one model.safetensors, or shards and an
// index.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "checkpoint/safetensors_writer.h"

namespace shoehorn {

/// Fills shards in the order of `tensors` until the next one would pass `max_shard_bytes` (a tensor
/// larger than that has a shard of its own): model.safetensors where one suffices, else
/// model-00001-of-00003.safetensors ... and model.safetensors.index.json. Returns the bytes of all
/// tensors. Throws what stream_safetensors() throws.
std::size_t write_sharded(const std::filesystem::path& folder,
                          std::span<const TensorSource> tensors, std::size_t max_shard_bytes);

}  // namespace shoehorn
