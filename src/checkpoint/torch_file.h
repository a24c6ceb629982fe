// PyTorch's files (pytorch_model.bin, *.pt, *.pth): what torch.save writes since 1.6, a zip archive
// with a pickle and an entry a storage, and what it wrote before, five pickles and the storages
// behind them. Tensors are byte ranges of the file and are read straight from it.
#pragma once

#include <cstddef>
#include <span>

#include "checkpoint/torch_tensors.h"

namespace shoehorn {

/// True for the first bytes (16 suffice) of either form.
bool looks_like_torch_file(std::span<const std::byte> first);

/// The state_dict in `source`; `file_index` goes to TensorInfo::file. Ranges lie in the file;
/// tensors that share a storage have ranges that overlap. Throws FormatError and UnsupportedError
/// naming file and tensor, entry or opcode. Nothing that the file says is executed.
pickle::TorchTensors read_torch_file(const ByteSource& source, std::uint32_t file_index = 0);

}  // namespace shoehorn
