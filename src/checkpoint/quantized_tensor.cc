#include "checkpoint/quantized_tensor.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <unordered_set>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/f8_tensor.h"
#include "checkpoint/mxfp4_tensor.h"
#include "checkpoint/printable.h"
#include "quant/code_books.h"
#include "quant/quant_state.h"

namespace shoehorn {
namespace {

constexpr std::string_view kStateInfix = ".quant_state.";

bool holds_floats(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

/// The tensors of one quantized weight, found by name.
class PartFinder {
 public:
  PartFinder(const Checkpoint& checkpoint, std::string path)
      : checkpoint_(checkpoint), path_(std::move(path)) {}

  const TensorInfo* find(const std::string& name) {
    const TensorInfo* info = checkpoint_.find(name);
    if (info != nullptr) found_.push_back(info);
    return info;
  }

  const TensorInfo& at(const std::string& name, std::string_view why) {
    const TensorInfo* info = find(name);
    if (info == nullptr) {
      throw FormatError(checkpoint_.path(),
                        str_cat(printable(name), " is missing: ", printable(path_), " ", why,
                                " and cannot be read without it"));
    }
    return *info;
  }

  /// A part of `count` floats.
  QuantizedPart floats(const TensorInfo& info, std::int64_t count, std::size_t offset) const {
    if (!holds_floats(info.dtype) || info.shape.elements() != count) {
      fail(info, str_cat("F32 [", count, "]"));
    }
    return {&info, offset, static_cast<std::size_t>(count) * sizeof(float),
            QuantizedPart::Kind::kFloats};
  }

  /// A part of `count` bytes, whatever the elements are called.
  QuantizedPart bytes(const TensorInfo& info, std::size_t count, std::size_t offset,
                      const std::string& expected) const {
    if (info.bytes != count) fail(info, expected);
    if (!info.strides.empty()) fail(info, "its bytes in one run, not a strided view of a storage");
    return {&info, offset, count, QuantizedPart::Kind::kBytes};
  }

  [[noreturn]] void fail(const TensorInfo& info, const std::string& expected) const {
    throw FormatError(checkpoint_.path_of(info),
                      str_cat(printable(info.name), " is ", to_string(info.dtype), " ",
                              to_string(info.shape), "; ", printable(path_), " needs ", expected));
  }

  const std::string& path() const { return path_; }
  const std::vector<const TensorInfo*>& found() const { return found_; }

 private:
  const Checkpoint& checkpoint_;
  std::string path_;
  std::vector<const TensorInfo*> found_;
};

QuantState read_state(const Checkpoint& checkpoint, const TensorInfo& info) {
  if (info.bytes > kMostQuantStateBytes) {
    throw FormatError(checkpoint.path_of(info),
                      str_cat(printable(info.name), " has ", info.bytes,
                              " bytes; a quant_state has at most ", kMostQuantStateBytes));
  }
  std::string json(info.bytes, '\0');
  checkpoint.read(info, std::as_writable_bytes(std::span(json)));
  return parse_quant_state(json,
                           str_cat(checkpoint.path_of(info).string(), ": ", printable(info.name)));
}

void add_table(QuantizedTensor& tensor, PartFinder& parts, const TensorInfo* info,
               std::span<const float> usual, std::size_t offset) {
  if (info != nullptr) {
    tensor.parts.push_back(parts.floats(*info, static_cast<std::int64_t>(usual.size()), offset));
  } else {
    tensor.constants.push_back({offset, {usual.begin(), usual.end()}});
  }
}

/// absmax of a weight that is not nested. After a forward on some CPUs bitsandbytes saves it
/// rounded and transposed.
QuantizedPart plain_absmax(const PartFinder& parts, const TensorInfo& info, const Shape& shape,
                           std::int64_t blocksize, const FourBitLayout& layout, bool& transposed) {
  QuantizedPart part = parts.floats(info, layout.blocks, layout.absmax);
  const bool rows_of_blocks = shape.rank() == 2 && shape[1] % blocksize == 0;
  if (info.shape.rank() == 2 && rows_of_blocks && info.shape[0] == shape[1] / blocksize &&
      info.shape[1] == shape[0] && info.dtype != DType::kF32) {
    part.kind = QuantizedPart::Kind::kTransposedFloats;
    transposed = true;
  }
  return part;
}

struct Found {
  QuantizedTensor tensor;
  bool transposed = false;
};

Found find_four_bit(const Checkpoint& checkpoint, const TensorInfo& state_info) {
  PartFinder parts(checkpoint, state_info.name.substr(0, state_info.name.find(kStateInfix)));
  const std::string& path = parts.path();
  const QuantState state = read_state(checkpoint, *parts.find(state_info.name));
  Found found;
  QuantizedTensor& tensor = found.tensor;
  tensor.path = path;
  tensor.shape = state.shape;
  tensor.form = {.quant_type = state.quant_type,
                 .dtype = state.dtype,
                 .blocksize = state.blocksize,
                 .nested = state.nested.has_value()};
  const std::string why = str_cat("is stored in ", to_string(state.quant_type));
  const std::int64_t elements = state.shape.elements();
  const FourBitLayout layout = four_bit_layout(tensor.form, elements);
  const auto packed = static_cast<std::size_t>((elements + 1) / 2);
  tensor.parts.push_back(parts.bytes(parts.at(path, why), packed, 0,
                                     str_cat(packed, " packed bytes for ", to_string(state.shape),
                                             " in ", to_string(state.quant_type))));
  const TensorInfo& absmax = parts.at(path + ".absmax", why);
  if (state.nested) {
    if (absmax.dtype != DType::kU8) parts.fail(absmax, str_cat("U8 [", layout.blocks, "]"));
    tensor.parts.push_back(parts.bytes(absmax, static_cast<std::size_t>(layout.blocks),
                                       layout.absmax, str_cat("U8 [", layout.blocks, "]")));
    tensor.parts.push_back(parts.floats(parts.at(path + ".nested_absmax", why),
                                        layout.nested_blocks, layout.nested_absmax));
    add_table(tensor, parts, parts.find(path + ".nested_quant_map"), dynamic_map(),
              layout.nested_quant_map);
    tensor.constants.push_back({layout.nested_offset, {static_cast<float>(state.nested->offset)}});
  } else {
    tensor.parts.push_back(
        plain_absmax(parts, absmax, state.shape, state.blocksize, layout, found.transposed));
  }
  add_table(tensor, parts, parts.find(path + ".quant_map"), four_bit_code(state.quant_type),
            layout.quant_map);
  tensor.tensors = parts.found();
  return found;
}

/// LLM.int8(): codes under the weight's name, row maxima under SCB.
Found find_int8(const Checkpoint& checkpoint, const TensorInfo& weight) {
  const std::string module =
      weight.name.substr(0, weight.name.size() - std::string_view(".weight").size());
  PartFinder parts(checkpoint, weight.name);
  if (weight.shape.rank() != 2) parts.fail(weight, "two dimensions to be int8");
  Found found;
  QuantizedTensor& tensor = found.tensor;
  tensor.path = weight.name;
  tensor.shape = weight.shape;
  tensor.form = {.quant_type = QuantType::kInt8, .dtype = DType::kF16};
  const Int8Layout layout = int8_layout(weight.shape[0], weight.shape[1]);
  tensor.parts.push_back(parts.bytes(*parts.find(weight.name), weight.bytes, 0, ""));
  tensor.parts.push_back(
      parts.floats(parts.at(module + ".SCB", "is stored in int8"), weight.shape[0], layout.scb));
  if (const TensorInfo* format = parts.find(module + ".weight_format")) {
    std::byte value{};
    if (format->bytes != 1) parts.fail(*format, "one byte");
    checkpoint.read(*format, std::span(&value, 1));
    if (value != std::byte{0}) {
      throw UnsupportedError(str_cat(
          checkpoint.path_of(*format).string(), ": ", printable(format->name), " is ",
          static_cast<int>(value),
          " (the order of some GPU's tiles); shoehorn reads 0, rows: save the model again with "
          "bitsandbytes 0.45 or newer"));
    }
  }
  tensor.tensors = parts.found();
  return found;
}

}  // namespace

std::size_t QuantizedTensor::stored_bytes() const {
  std::size_t bytes = 0;
  for (const QuantizedPart& part : parts) {
    bytes += part.info->bytes + (part.scales != nullptr ? part.scales->bytes : 0);
  }
  return bytes;
}

QuantizedTensors::QuantizedTensors(const Checkpoint& checkpoint) {
  std::unordered_set<std::string_view> with_state;
  for (const TensorInfo& info : checkpoint.tensors()) {
    const std::size_t infix = info.name.find(kStateInfix);
    if (infix != std::string::npos) with_state.insert(std::string_view(info.name).substr(0, infix));
  }
  std::size_t transposed = 0;
  for (const TensorInfo& info : checkpoint.tensors()) {
    const bool is_state = info.name.find(kStateInfix) != std::string::npos;
    const bool is_int8 = info.dtype == DType::kI8 && info.name.ends_with(".weight") &&
                         !with_state.contains(info.name);
    if (!is_state && !is_int8) continue;
    Found found = is_state ? find_four_bit(checkpoint, info) : find_int8(checkpoint, info);
    if (found.transposed) ++transposed;
    add(std::move(found.tensor));
  }
  for (QuantizedTensor& tensor : find_f8_tensors(checkpoint)) add(std::move(tensor));
  for (QuantizedTensor& tensor : find_mxfp4_tensors(checkpoint)) add(std::move(tensor));
  if (transposed > 0) {
    notes_.push_back(
        str_cat(transposed,
                " weights have their absmax transposed and rounded to 16 bits, as bitsandbytes "
                "saves a model that has run on a CPU: read as such"));
  }
}

void QuantizedTensors::add(QuantizedTensor tensor) {
  tensors_.push_back(std::make_shared<const QuantizedTensor>(std::move(tensor)));
  const QuantizedTensor& added = *tensors_.back();
  if (!index_.emplace(added.path, tensors_.size() - 1).second) {
    throw FormatError(str_cat(printable(added.path), " has two quant_states"));
  }
}

std::shared_ptr<const QuantizedTensor> QuantizedTensors::find(std::string_view path) const {
  const auto found = index_.find(path);
  return found == index_.end() ? nullptr : tensors_[found->second];
}
}  // namespace shoehorn
