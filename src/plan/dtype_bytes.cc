#include "plan/dtype_bytes.h"

#include <array>
#include <charconv>
#include <optional>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

// Names torch has beyond those of DType.
constexpr std::array kOtherTorchNames = {
    std::string_view("half"),
    std::string_view("float"),
    std::string_view("double"),
    std::string_view("float8_e4m3fnuz"),
    std::string_view("float8_e5m2fnuz"),
    std::string_view("complex32"),
    std::string_view("int1"),
    std::string_view("int2"),
    std::string_view("int3"),
    std::string_view("int4"),
    std::string_view("int5"),
    std::string_view("int6"),
    std::string_view("int7"),
    std::string_view("uint1"),
    std::string_view("uint2"),
    std::string_view("uint3"),
    std::string_view("uint4"),
    std::string_view("uint5"),
    std::string_view("uint6"),
    std::string_view("uint7"),
    std::string_view("qint8"),
    std::string_view("quint8"),
    std::string_view("qint32"),
    std::string_view("quint4x2"),
    std::string_view("quint2x4"),
};

std::string_view without_torch(std::string_view name) {
  if (name.starts_with("torch.")) name.remove_prefix(6);
  // torch.half and friends are other names of the same object.
  if (name == "half") return "float16";
  if (name == "float") return "float32";
  if (name == "double") return "float64";
  return name;
}

void require_known(std::string_view name) {
  if (dtype_from_torch_name(name)) return;
  for (const std::string_view other : kOtherTorchNames) {
    if (name == other) return;
  }
  throw ArgumentError(str_cat("dtype \"", name.substr(0, 60),
                              "\" is none of torch's: expected one such as float32, bfloat16, "
                              "float16, int8, or custom:int4"));
}

// 16 for "bfloat16", 2 for "float4_e2m1fn_x2", 0 without digits at the end.
int trailing_bits(std::string_view name) {
  const std::size_t last = name.find_last_not_of("0123456789");
  const std::string_view digits = name.substr(last == std::string_view::npos ? 0 : last + 1);
  int bits = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  return bits;
}

// GGUF blocks and packed 6-bit floats: what they take in the file.
std::optional<PyNumber> stored_bytes(std::string_view name) {
  const auto dtype = dtype_from_name(name);
  if (!dtype || !dtype_info(*dtype).torch_name.empty()) return std::nullopt;
  const DTypeInfo& info = dtype_info(*dtype);
  return PyNumber{static_cast<double>(info.block_bytes) / static_cast<double>(info.block_elements),
                  true};
}

}  // namespace

PyNumber accelerate_dtype_bytes(std::string_view name) {
  if (name == "custom:int4") return {0.5, true};
  if (name == "custom:int2") return {0.25, true};
  if (name == "custom:fp8") return {1, false};
  if (const auto stored = stored_bytes(name)) return *stored;
  name = without_torch(name);
  require_known(name);
  if (name == "bool") return {0.125, true};
  if (name.starts_with("float8")) return {1, false};
  return {static_cast<double>(trailing_bits(name) / 8), false};
}

PyNumber torch_element_size(std::string_view name) {
  const PyNumber bytes = accelerate_dtype_bytes(name);
  if (stored_bytes(name)) return bytes;
  return bytes.value < 1 ? PyNumber{1, false} : bytes;
}

bool keeps_its_dtype(std::string_view name) {
  name = without_torch(name);
  return name.starts_with("int") || name.starts_with("uint") || name.starts_with("bool");
}

std::string planner_dtype_name(DType dtype) {
  const DTypeInfo& info = dtype_info(dtype);
  return std::string(info.torch_name.empty() ? info.name : info.torch_name);
}

}  // namespace shoehorn
