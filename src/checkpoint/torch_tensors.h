// From what a pickle says of tensors (torch's _rebuild_tensor functions over storages) to names,
// dtypes, shapes, strides and byte ranges.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/pickle_machine.h"
#include "checkpoint/tensor_info.h"

namespace shoehorn::pickle {

/// What a persistent id says of a storage: ('storage', type, key, location, numel) and, in files
/// older than torch 1.6, what it is a view of.
struct StorageId {
  struct View {
    std::string key;  // of the view itself
    std::int64_t offset = 0;
    std::int64_t elements = 0;
  };
  std::optional<DType> dtype;  // absent: untyped, elements are bytes
  std::string key;
  std::int64_t elements = 0;
  std::optional<View> view;

  std::size_t element_bytes() const { return dtype ? dtype_info(*dtype).block_bytes : 1; }
};

/// The bytes of a storage in a file.
struct StorageRange {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

/// Throws FormatError naming `what` where the id is none; UnsupportedError for a pickled module.
StorageId storage_id(const Pickle& pickle, Ref storage, const std::filesystem::path& path,
                     const std::string& what);

struct TorchTensors {
  std::vector<TensorInfo> tensors;  // by offset
  std::vector<std::string> notes;
};

/// The tensors of a pickled state_dict. `locate` finds a storage's bytes, or throws. What the dict
/// holds beside tensors is passed over with a note. Throws FormatError naming the tensor whose
/// shape, strides or storage disagree; UnsupportedError for what torch stores and shoehorn has no
/// form for.
TorchTensors state_dict_tensors(const Pickle& pickle, const ByteSource& source,
                                const std::string& what, std::uint32_t file_index,
                                const std::function<StorageRange(const StorageId&)>& locate);

}  // namespace shoehorn::pickle
