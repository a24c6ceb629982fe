#include "checkpoint/safetensors_writer.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "base/written_file.h"
#include "checkpoint/printable.h"
#include "checkpoint/safetensors_header.h"

namespace shoehorn {
namespace {

constexpr std::size_t kHeaderAlignment = 8;

// The reference library's order of types (its `Dtype` enum), last one first in the file, so that
// every tensor is aligned to its own element.
constexpr std::array kTypeOrder = {
    DType::kBool, DType::kF4,     DType::kF6E2M3, DType::kF6E3M2, DType::kU8,
    DType::kI8,   DType::kF8E5M2, DType::kF8E4M3, DType::kF8E8M0, DType::kI16,
    DType::kU16,  DType::kF16,    DType::kBF16,   DType::kI32,    DType::kU32,
    DType::kF32,  DType::kC64,    DType::kF64,    DType::kI64,    DType::kU64,
};

std::ptrdiff_t type_rank(DType dtype) {
  return std::ranges::find(kTypeOrder, dtype) - kTypeOrder.begin();
}

// A JSON string as serde_json writes it.
std::string json_string(std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  constexpr std::string_view kEscaped = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (const std::size_t known = kEscaped.find(c); known != std::string_view::npos) {
      out += '\\';
      out += kLetters[known];
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 0x0F];
    } else {
      out += c;
    }
  }
  return out + '"';
}

void check_names(std::span<const TensorSource> tensors) {
  std::set<std::string_view> names = {"__metadata__"};
  for (const TensorSource& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      throw ArgumentError(str_cat("two tensors cannot be named ", printable(tensor.name)));
    }
    if (!safetensors_dtype(to_string(tensor.dtype))) {
      throw ArgumentError(str_cat(printable(tensor.name), ": safetensors has no type for ",
                                  to_string(tensor.dtype)));
    }
  }
}

TensorSource source_of(const NamedTensor& tensor) {
  const TensorView& view = tensor.view;
  const bool in_host_memory =
      view.device.kind == DeviceKind::kCpu || view.device.kind == DeviceKind::kVirtual;
  if (!in_host_memory || (view.data == nullptr && view.size_bytes() > 0)) {
    throw ArgumentError(str_cat(printable(tensor.name), ": its bytes are not in memory"));
  }
  return {.name = tensor.name,
          .dtype = view.dtype,
          .shape = view.shape,
          .produce = [view](const auto& sink) { sink(view.bytes()); }};
}

std::vector<const TensorSource*> in_file_order(std::span<const TensorSource> tensors) {
  std::vector<const TensorSource*> order;
  for (const TensorSource& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, [](const TensorSource* a, const TensorSource* b) {
    const std::ptrdiff_t a_rank = type_rank(a->dtype);
    const std::ptrdiff_t b_rank = type_rank(b->dtype);
    return a_rank != b_rank ? a_rank > b_rank : a->name < b->name;
  });
  return order;
}

std::string shape_json(const Shape& shape) {
  std::string text = "[";
  for (const std::int64_t dim : shape) text += str_cat(text.size() > 1 ? "," : "", dim);
  return text + "]";
}

std::string header_json(const std::vector<const TensorSource*>& order,
                        std::span<const std::pair<std::string, std::string>> metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      json += str_cat(json.back() == '{' ? "" : ",", json_string(key), ":", json_string(value));
    }
    json += '}';
  }
  std::size_t begin = 0;
  for (const TensorSource* tensor : order) {
    const std::size_t end = begin + tensor->bytes();
    json += str_cat(json.size() > 1 ? "," : "", json_string(tensor->name), ":{\"dtype\":\"",
                    to_string(tensor->dtype), "\",\"shape\":", shape_json(tensor->shape),
                    ",\"data_offsets\":[", begin, ",", end, "]}");
    begin = end;
  }
  json += '}';
  json.resize((json.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  return json;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       std::span<const std::pair<std::string, std::string>> metadata) {
  std::vector<TensorSource> sources;
  for (const NamedTensor& tensor : tensors) sources.push_back(source_of(tensor));
  stream_safetensors(path, sources, metadata);
}

void stream_safetensors(const std::filesystem::path& path, std::span<const TensorSource> tensors,
                        std::span<const std::pair<std::string, std::string>> metadata) {
  check_names(tensors);
  const auto order = in_file_order(tensors);
  const std::string header = header_json(order, metadata);
  const std::uint64_t length = header.size();
  WrittenFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(header)));
  for (const TensorSource* tensor : order) {
    std::size_t written = 0;
    tensor->produce([&](std::span<const std::byte> bytes) {
      written += bytes.size();
      if (written <= tensor->bytes()) file.write(bytes);
    });
    if (written != tensor->bytes()) {
      throw ArgumentError(str_cat(printable(tensor->name), ": ", written, " bytes for a tensor of ",
                                  tensor->bytes()));
    }
  }
  file.commit();
}

}  // namespace shoehorn
