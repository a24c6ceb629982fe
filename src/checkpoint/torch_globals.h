// The names of Python's that a pickle of tensors may ask for, and what each means here. This is
// the whole list: a name that is not in it is refused, and none of them runs anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "tensor/dtype.h"

namespace shoehorn::pickle {

enum class GlobalKind : std::uint8_t {
  kOrderedDict,       // collections.OrderedDict
  kSize,              // torch.Size
  kRebuildTensor,     // torch._utils._rebuild_tensor(storage, offset, size, stride)
  kRebuildTensorV2,   // ..._v2(storage, offset, size, stride, requires_grad, hooks[, metadata])
  kRebuildTensorV3,   // ..._v3(storage, offset, size, stride, requires_grad, hooks, dtype[, md])
  kRebuildParameter,  // torch._utils._rebuild_parameter(tensor, requires_grad, hooks[, state])
  kStorage,           // torch.HalfStorage and its like
  kUntypedStorage,    // torch.storage.UntypedStorage
  kDType,             // torch.float16 and its like
};

struct Global {
  GlobalKind kind = GlobalKind::kOrderedDict;
  DType dtype = DType::kF32;  // of a storage and of a dtype
};

/// Nothing for a name that is not in the list.
std::optional<Global> find_global(std::string_view module, std::string_view name);

}  // namespace shoehorn::pickle
