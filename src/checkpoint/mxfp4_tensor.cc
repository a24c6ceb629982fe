#include "checkpoint/mxfp4_tensor.h"

#include <string>

#include "shoehorn/error.h"

#include "base/checked.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "quant/mxfp4.h"

namespace shoehorn {
namespace {

constexpr std::string_view kBlocksSuffix = "_blocks";
constexpr std::string_view kScalesSuffix = "_scales";

[[noreturn]] void fail(const Checkpoint& checkpoint, const TensorInfo& info,
                       const std::string& what) {
  throw FormatError(checkpoint.path_of(info),
                    str_cat(printable(info.name), " is ", to_string(info.dtype), " ",
                            to_string(info.shape), "; ", what));
}

QuantizedTensor make(const Checkpoint& checkpoint, const TensorInfo& blocks) {
  const std::string path = blocks.name.substr(0, blocks.name.size() - kBlocksSuffix.size());
  const TensorInfo* scales = checkpoint.find(path + std::string(kScalesSuffix));
  if (scales == nullptr) {
    fail(checkpoint, blocks, str_cat("there is no ", printable(path), kScalesSuffix, " beside it"));
  }
  const std::size_t rank = blocks.shape.rank();
  const Shape expected(std::span(blocks.shape.begin(), rank - 1));
  if (scales->dtype != DType::kU8 || scales->shape != expected) {
    fail(checkpoint, *scales,
         str_cat("the scales of ", printable(blocks.name), " are U8 ", to_string(expected)));
  }
  if (!blocks.strides.empty() || !scales->strides.empty()) {
    fail(checkpoint, blocks, "MXFP4 is read in one run, not from a strided view of a storage");
  }
  std::vector<std::int64_t> dims(blocks.shape.begin(), blocks.shape.end() - 1);
  const auto columns = checked_mul<std::int64_t>(dims.back(), quant::kSmallBlock);
  if (!columns) fail(checkpoint, blocks, "which is too large");
  dims.back() = *columns;
  QuantizedTensor tensor;
  tensor.path = path;
  tensor.shape = Shape(dims);
  tensor.form = {.dtype = DType::kMXFP4};
  const auto bytes = form_bytes(tensor.form, tensor.shape);
  if (!bytes) fail(checkpoint, blocks, "which is too large");
  tensor.parts = {{&blocks, 0, *bytes, QuantizedPart::Kind::kMxfp4, scales}};
  tensor.tensors = {&blocks, scales};
  return tensor;
}

}  // namespace

std::vector<QuantizedTensor> find_mxfp4_tensors(const Checkpoint& checkpoint) {
  std::vector<QuantizedTensor> found;
  for (const TensorInfo& info : checkpoint.tensors()) {
    const bool are_blocks = info.dtype == DType::kU8 && info.name.ends_with(kBlocksSuffix) &&
                            info.shape.rank() >= 3 &&
                            info.shape[-1] == static_cast<std::int64_t>(quant::kMxfp4NibbleBytes);
    if (are_blocks) found.push_back(make(checkpoint, info));
  }
  return found;
}

}  // namespace shoehorn
