#include "checkpoint/safetensors_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "checkpoint/safetensors_header.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

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

void check(std::span<const NamedTensor> tensors) {
  std::set<std::string_view> names = {"__metadata__"};
  for (const NamedTensor& tensor : tensors) {
    const TensorView& view = tensor.view;
    if (!names.insert(tensor.name).second) {
      throw ArgumentError(str_cat("two tensors cannot be named ", printable(tensor.name)));
    }
    if (!safetensors_dtype(to_string(view.dtype))) {
      throw ArgumentError(
          str_cat(printable(tensor.name), ": safetensors has no type for ", to_string(view.dtype)));
    }
    const bool in_host_memory =
        view.device.kind == DeviceKind::kCpu || view.device.kind == DeviceKind::kVirtual;
    if (!in_host_memory || (view.data == nullptr && view.size_bytes() > 0)) {
      throw ArgumentError(str_cat(printable(tensor.name), ": its bytes are not in memory"));
    }
  }
}

std::vector<const NamedTensor*> in_file_order(std::span<const NamedTensor> tensors) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, [](const NamedTensor* a, const NamedTensor* b) {
    const std::ptrdiff_t a_rank = type_rank(a->view.dtype);
    const std::ptrdiff_t b_rank = type_rank(b->view.dtype);
    return a_rank != b_rank ? a_rank > b_rank : a->name < b->name;
  });
  return order;
}

std::string shape_json(const Shape& shape) {
  std::string text = "[";
  for (const std::int64_t dim : shape) text += str_cat(text.size() > 1 ? "," : "", dim);
  return text + "]";
}

std::string header_json(const std::vector<const NamedTensor*>& order,
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
  for (const NamedTensor* tensor : order) {
    const std::size_t end = begin + tensor->view.size_bytes();
    json += str_cat(json.size() > 1 ? "," : "", json_string(tensor->name), ":{\"dtype\":\"",
                    to_string(tensor->view.dtype), "\",\"shape\":", shape_json(tensor->view.shape),
                    ",\"data_offsets\":[", begin, ",", end, "]}");
    begin = end;
  }
  json += '}';
  json.resize((json.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  return json;
}

// A file under a temporary name, which is gone again unless commit() gave it its own.
class PartialFile {
 public:
  explicit PartialFile(const fs::path& path) : path_(path), written_(path) {
    // Renaming over a device would replace it, so those are written to as they are.
    std::error_code ignored;
    if (!fs::exists(path, ignored) || fs::is_regular_file(path, ignored)) {
      written_ += str_cat(".tmp-", ::getpid());
      is_temporary_ = true;
    }
    fd_ = ::open(written_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd_ < 0) {
      is_temporary_ = false;
      throw FileError(path, str_cat("cannot be written: ", std::strerror(errno)));
    }
  }
  ~PartialFile() {
    if (fd_ >= 0) ::close(fd_);
    if (is_temporary_) ::unlink(written_.c_str());
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) throw FileError(path_, str_cat("writing: ", std::strerror(errno)));
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
  }

  void commit() {
    const int closed = ::close(std::exchange(fd_, -1));
    if (closed != 0) throw FileError(path_, str_cat("writing: ", std::strerror(errno)));
    if (!is_temporary_) return;
    if (::rename(written_.c_str(), path_.c_str()) != 0) {
      throw FileError(path_, str_cat("cannot be replaced: ", std::strerror(errno)));
    }
    is_temporary_ = false;
  }

 private:
  fs::path path_;
  fs::path written_;
  int fd_ = -1;
  bool is_temporary_ = false;
};

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       std::span<const std::pair<std::string, std::string>> metadata) {
  check(tensors);
  const auto order = in_file_order(tensors);
  const std::string header = header_json(order, metadata);
  const std::uint64_t length = header.size();
  PartialFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(header)));
  for (const NamedTensor* tensor : order) file.write(tensor->view.bytes());
  file.commit();
}

}  // namespace shoehorn
