#include "shoehorn/logits_file.h"

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/safetensors_writer.h"

namespace shoehorn {
namespace {

/// The tensor as 32-bit integers; it must be [B, T] of an integer type.
std::vector<std::int32_t> integers(const File& file, const TensorInfo& info) {
  std::vector<std::byte> bytes(info.bytes);
  file.read_at(info.offset, bytes);
  std::vector<std::int32_t> values(static_cast<std::size_t>(info.shape.elements()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::int64_t value = 0;
    if (info.dtype == DType::kI64) {
      std::memcpy(&value, bytes.data() + 8 * i, 8);
    } else if (info.dtype == DType::kI32) {
      std::int32_t narrow;
      std::memcpy(&narrow, bytes.data() + 4 * i, 4);
      value = narrow;
    } else {
      throw FormatError(file.path(),
                        str_cat(info.name, ": must be I64 or I32, is ", to_string(info.dtype)));
    }
    if (value < std::numeric_limits<std::int32_t>::min() ||
        value > std::numeric_limits<std::int32_t>::max()) {
      throw FormatError(file.path(), str_cat(info.name, ": ", value, " does not fit 32 bits"));
    }
    values[i] = static_cast<std::int32_t>(value);
  }
  return values;
}

}  // namespace

LogitsRequest read_logits_request(const std::filesystem::path& path) {
  const File file(path);
  const SafetensorsHeader header = read_safetensors_header(file);
  LogitsRequest request;
  const TensorInfo* input_ids = nullptr;
  for (const TensorInfo& info : header.tensors) {
    if (info.name == "input_ids") input_ids = &info;
  }
  if (input_ids == nullptr) throw FormatError(path, "has no input_ids [B, T]");
  if (input_ids->shape.rank() != 2 || input_ids->shape.elements() == 0) {
    throw FormatError(path, str_cat("input_ids must be [B, T], is ", to_string(input_ids->shape)));
  }
  request.batch = input_ids->shape[0];
  request.length = input_ids->shape[1];
  request.input_ids = integers(file, *input_ids);
  for (const TensorInfo& info : header.tensors) {
    if (info.name != "attention_mask" && info.name != "position_ids") continue;
    if (info.shape != input_ids->shape) {
      throw FormatError(path, str_cat(info.name, ": must be ", to_string(input_ids->shape),
                                      " as input_ids, is ", to_string(info.shape)));
    }
    const std::vector<std::int32_t> values = integers(file, info);
    if (info.name == "position_ids") {
      request.position_ids = values;
    } else {
      for (const std::int32_t value : values) {
        request.attention_mask.push_back(value != 0 ? 1 : 0);
      }
    }
  }
  return request;
}

void write_logits(const std::filesystem::path& path, std::span<const float> logits,
                  std::span<const std::int64_t> shape) {
  const TensorView view{DType::kF32, Shape(shape),
                        reinterpret_cast<const std::byte*>(logits.data()), Device{}};
  if (view.size_bytes() != logits.size_bytes()) {
    throw ArgumentError(
        str_cat("write_logits: ", logits.size(), " values for the shape ", to_string(view.shape)));
  }
  const std::vector<NamedTensor> tensors = {{"logits", view}};
  write_safetensors(path, tensors);
}

}  // namespace shoehorn
