#include "checkpoint/torch_globals.h"

#include <array>
#include <utility>

namespace shoehorn::pickle {
namespace {

struct Function {
  std::string_view module;
  std::string_view name;
  GlobalKind kind;
};
constexpr std::array<Function, 10> kFunctions = {{
    {"collections", "OrderedDict", GlobalKind::kOrderedDict},
    {"torch", "Size", GlobalKind::kSize},
    {"torch._utils", "_rebuild_tensor", GlobalKind::kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v2", GlobalKind::kRebuildTensorV2},
    {"torch._utils", "_rebuild_tensor_v3", GlobalKind::kRebuildTensorV3},
    {"torch._utils", "_rebuild_parameter", GlobalKind::kRebuildParameter},
    {"torch._utils", "_rebuild_parameter_with_state", GlobalKind::kRebuildParameter},
    {"torch.storage", "UntypedStorage", GlobalKind::kUntypedStorage},
    {"torch.storage", "_UntypedStorage", GlobalKind::kUntypedStorage},
    {"torch", "UntypedStorage", GlobalKind::kUntypedStorage},
}};

// The same names under torch.cuda, where files older than 1.6 keep what was on a GPU.
constexpr std::array<std::pair<std::string_view, DType>, 12> kStorages = {{
    {"DoubleStorage", DType::kF64},
    {"FloatStorage", DType::kF32},
    {"HalfStorage", DType::kF16},
    {"BFloat16Storage", DType::kBF16},
    {"LongStorage", DType::kI64},
    {"IntStorage", DType::kI32},
    {"ShortStorage", DType::kI16},
    {"CharStorage", DType::kI8},
    {"ByteStorage", DType::kU8},
    {"BoolStorage", DType::kBool},
    {"ComplexFloatStorage", DType::kC64},
    {"ComplexDoubleStorage", DType::kC128},
}};

}  // namespace

std::optional<Global> find_global(std::string_view module, std::string_view name) {
  for (const Function& function : kFunctions) {
    if (function.module == module && function.name == name) return Global{function.kind, {}};
  }
  if (module == "torch" || module == "torch.cuda") {
    for (const auto& [storage, dtype] : kStorages) {
      if (storage == name) return Global{GlobalKind::kStorage, dtype};
    }
  }
  if (module == "torch") {
    const auto dtype = dtype_from_torch_name(name);
    if (dtype && !is_block(*dtype)) return Global{GlobalKind::kDType, *dtype};
  }
  return std::nullopt;
}

}  // namespace shoehorn::pickle
