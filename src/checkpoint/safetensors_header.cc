#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <array>
#include <tuple>
#include <unordered_set>

#include <simdjson.h>

#include "shoehorn/error.h"

#include "base/byte_order.h"
#include "base/checked.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr std::uint64_t kLengthBytes = 8;
// Deep enough for any field a later version of the format may add, shallow enough for the stack.
constexpr int kMaxIgnoredDepth = 32;

std::string known_dtypes() {
  std::string names;
  for (int i = 0; i < kDTypeCount; ++i) {
    const std::string_view name = to_string(static_cast<DType>(i));
    if (safetensors_dtype(name)) names += str_cat(names.empty() ? "" : ", ", name);
  }
  return names;
}

// Where the JSON ends and the data begins, with both inside a file of `file_bytes` bytes.
std::uint64_t checked_header_bytes(std::span<const std::byte, kLengthBytes> first,
                                   std::uint64_t file_bytes, const std::filesystem::path& path) {
  // The length comes from the file, so it is only compared until it is known to be small.
  const std::uint64_t length = read_le64(first);
  if (length > kMaxSafetensorsHeaderBytes) {
    throw FormatError(path,
                      str_cat("is not safetensors: its first 8 bytes claim a header of ", length,
                              " bytes; at most ", kMaxSafetensorsHeaderBytes, " are allowed"));
  }
  if (length > file_bytes - kLengthBytes) {
    throw FormatError(
        path, str_cat("claims a header of ", length, " bytes but has only ",
                      file_bytes - kLengthBytes, " after its length; is the download complete?"));
  }
  return length;
}

class HeaderParser {
 public:
  HeaderParser(const std::filesystem::path& path, std::uint64_t header_bytes,
               std::uint64_t data_bytes, std::uint32_t file_index)
      : path_(path),
        header_bytes_(header_bytes),
        data_bytes_(data_bytes),
        file_index_(file_index) {}

  // `json` is the header followed by simdjson's padding.
  SafetensorsHeader parse(std::string_view json, std::size_t capacity) {
    require_one_object(json);
    ondemand::parser parser;  // outlives the try block: tensor_ points into it
    try {
      ondemand::document document = parser.iterate(json, capacity).value();
      parse_root(document.get_object());
      // Anything but white space behind the object would be left over here.
      const char* rest = nullptr;
      if (document.current_location().get(rest) == simdjson::SUCCESS) {
        throw FormatError(path_, "has more than one JSON value in its header");
      }
    } catch (const simdjson::simdjson_error& error) {
      throw FormatError(
          path_, str_cat("has a header that is not valid JSON",
                         tensor_.empty() ? "" : " near " + printable(tensor_), ": ", error.what()));
    }
    require_unique_names();
    require_full_cover();
    return std::move(header_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(path_, str_cat(printable(tensor_), ": ", what));
  }

  void require_one_object(std::string_view json) const {
    if (json.empty() || json.front() != '{') {
      throw FormatError(path_, "is not safetensors: its header does not start with '{'");
    }
    const std::size_t last = json.find_last_not_of(" \t\r\n");
    if (json[last] != '}') {
      throw FormatError(path_, "has a header that is not one JSON object: it does not end in '}'");
    }
  }

  void parse_root(ondemand::object root) {
    bool has_metadata = false;
    for (ondemand::field field : root) {
      tensor_ = field.unescaped_key().value();
      ondemand::value value = field.value();
      if (tensor_ == "__metadata__") {
        if (has_metadata) fail("is there twice");
        has_metadata = true;
        parse_metadata(value);
      } else {
        header_.tensors.push_back(parse_tensor(value));
      }
    }
  }

  void parse_metadata(ondemand::value value) {
    const ondemand::json_type type = value.type();
    if (type == ondemand::json_type::null) {
      if (!value.is_null()) fail("is not valid JSON");
      return;
    }
    if (type != ondemand::json_type::object) fail("must be an object of strings");
    std::vector<std::string_view> keys;  // into the parser; a set would take ten times the file
    for (ondemand::field field : value.get_object()) {
      keys.push_back(field.unescaped_key().value());
      ondemand::value text = field.value();
      if (text.type() != ondemand::json_type::string) {
        fail(str_cat("must hold strings; the value of ", printable(keys.back()), " is not one"));
      }
      header_.metadata.emplace_back(keys.back(), text.get_string().value());
    }
    std::ranges::sort(keys);
    if (const auto twice = std::ranges::adjacent_find(keys); twice != keys.end()) {
      fail(str_cat("has the key ", printable(*twice), " twice"));
    }
  }

  // What one entry says, before it is known to be consistent.
  struct Entry {
    std::optional<DType> dtype;
    std::optional<Shape> shape;
    std::optional<std::pair<std::uint64_t, std::uint64_t>> data_offsets;
  };

  TensorInfo parse_tensor(ondemand::value value) {
    if (value.type() != ondemand::json_type::object) {
      fail("must be an object with dtype, shape and data_offsets");
    }
    Entry entry;
    for (ondemand::field field : value.get_object()) {
      const std::string_view key = field.unescaped_key();
      if (key == "dtype") {
        if (entry.dtype) fail("has dtype twice");
        entry.dtype = parse_dtype(field.value());
      } else if (key == "shape") {
        if (entry.shape) fail("has shape twice");
        entry.shape = parse_shape(field.value());
      } else if (key == "data_offsets") {
        if (entry.data_offsets) fail("has data_offsets twice");
        entry.data_offsets = parse_offsets(field.value());
      } else {
        ignore(field.value(), 0);  // as the reference does
      }
    }
    if (!entry.dtype) fail("has no dtype");
    if (!entry.shape) fail("has no shape");
    if (!entry.data_offsets) fail("has no data_offsets");
    return checked_info(*entry.dtype, *entry.shape, *entry.data_offsets);
  }

  DType parse_dtype(ondemand::value value) const {
    if (value.type() != ondemand::json_type::string) fail("dtype must be a string");
    const std::string_view name = value.get_string();
    if (const auto dtype = safetensors_dtype(name)) return *dtype;
    fail(str_cat("has the unknown dtype ", printable(name), "; known are ", known_dtypes()));
  }

  std::uint64_t parse_integer(ondemand::value value, std::string_view key) const {
    std::uint64_t number = 0;
    if (value.get_uint64().get(number) != simdjson::SUCCESS) {
      const std::string_view token = value.raw_json_token();
      fail(str_cat(key, " must hold integers that are not negative, not ", printable(token)));
    }
    return number;
  }

  Shape parse_shape(ondemand::value value) const {
    if (value.type() != ondemand::json_type::array) fail("shape must be a list of integers");
    std::array<std::int64_t, Shape::kMaxRank> dims{};
    std::size_t rank = 0;
    for (ondemand::value item : value.get_array()) {
      const std::uint64_t dim = parse_integer(item, "shape");
      if (dim > INT64_MAX) fail(str_cat("has a dimension of ", dim, ", more than any file holds"));
      if (rank == dims.size()) {
        throw UnsupportedError(str_cat(path_.string(), ": ", printable(tensor_), ": has more than ",
                                       dims.size(), " dimensions"));
      }
      dims[rank++] = static_cast<std::int64_t>(dim);
    }
    return Shape(std::span(dims.data(), rank));
  }

  std::pair<std::uint64_t, std::uint64_t> parse_offsets(ondemand::value value) const {
    constexpr std::string_view kExpected = "data_offsets must be a list of two integers";
    if (value.type() != ondemand::json_type::array) fail(std::string(kExpected));
    std::array<std::uint64_t, 2> offsets{};
    std::size_t count = 0;
    for (ondemand::value item : value.get_array()) {
      if (count == offsets.size()) fail(std::string(kExpected));
      offsets[count++] = parse_integer(item, "data_offsets");
    }
    if (count != offsets.size()) fail(std::string(kExpected));
    return {offsets[0], offsets[1]};
  }

  // Walks over a value nobody asked for, so that what is in it still has to be JSON.
  void ignore(ondemand::value value, int depth) const {
    if (depth > kMaxIgnoredDepth) fail(str_cat("is nested deeper than ", kMaxIgnoredDepth));
    switch (value.type().value()) {
      case ondemand::json_type::object:
        for (ondemand::field field : value.get_object()) {
          static_cast<void>(field.unescaped_key().value());  // checks its escapes
          ignore(field.value(), depth + 1);
        }
        return;
      case ondemand::json_type::array:
        for (ondemand::value item : value.get_array()) ignore(item, depth + 1);
        return;
      case ondemand::json_type::string: static_cast<void>(value.get_string().value()); return;
      case ondemand::json_type::number: static_cast<void>(value.get_double().value()); return;
      case ondemand::json_type::boolean: static_cast<void>(value.get_bool().value()); return;
      case ondemand::json_type::null:
        if (!value.is_null()) fail("is not valid JSON");
        return;
    }
  }

  TensorInfo checked_info(DType dtype, const Shape& shape,
                          std::pair<std::uint64_t, std::uint64_t> range) const {
    const auto [begin, end] = range;
    if (begin > end) fail(str_cat("data_offsets [", begin, ", ", end, "] run backwards"));
    if (end > data_bytes_) {
      fail(str_cat("data_offsets end at byte ", end, " but the file has only ", data_bytes_,
                   " bytes of data; is the download complete?"));
    }
    const auto elements = shape.checked_elements();
    const auto bytes = elements ? packed_bytes(dtype, *elements) : std::nullopt;
    if (!bytes) {
      fail(str_cat(to_string(dtype), " ", to_string(shape),
                   elements && *elements % dtype_info(dtype).block_elements != 0
                       ? " does not fill whole bytes"
                       : " has more bytes than can be counted"));
    }
    if (*bytes != end - begin) {
      fail(str_cat(to_string(dtype), " ", to_string(shape), " takes ", *bytes,
                   " bytes, data_offsets [", begin, ", ", end, "] hold ", end - begin));
    }
    return {.name = std::string(tensor_),
            .dtype = dtype,
            .shape = shape,
            .file = file_index_,
            .offset = kLengthBytes + header_bytes_ + begin,
            .bytes = *bytes,
            .row_order = {}};
  }

  void require_unique_names() {
    std::unordered_set<std::string_view> names;
    names.reserve(header_.tensors.size());
    for (const TensorInfo& info : header_.tensors) {
      tensor_ = info.name;
      if (!names.insert(info.name).second) fail("is there twice");
    }
  }

  // No overlaps, no holes, nothing behind the last tensor: bytes that no tensor owns could smuggle
  // another format into the file, which is why the reference refuses them.
  void require_full_cover() {
    const auto by_offset = [](const TensorInfo& a, const TensorInfo& b) {
      return std::tie(a.offset, a.bytes) < std::tie(b.offset, b.bytes);
    };
    std::vector<TensorInfo>& tensors = header_.tensors;
    if (!std::is_sorted(tensors.begin(), tensors.end(), by_offset)) {
      std::stable_sort(tensors.begin(), tensors.end(), by_offset);
    }
    const std::uint64_t data_start = kLengthBytes + header_bytes_;
    std::uint64_t covered = data_start;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      tensor_ = tensors[i].name;
      if (tensors[i].offset < covered) {
        fail(str_cat("begins at byte ", tensors[i].offset - data_start,
                     " of the data, which belongs to ", printable(tensors[i - 1].name),
                     " up to byte ", covered - data_start));
      }
      if (tensors[i].offset > covered) {
        fail(str_cat("begins at byte ", tensors[i].offset - data_start,
                     " of the data, but no tensor owns the bytes from ", covered - data_start,
                     " on"));
      }
      covered += tensors[i].bytes;
    }
    if (covered != data_start + data_bytes_) {
      throw FormatError(path_, str_cat("has ", data_start + data_bytes_ - covered,
                                       " bytes behind its last tensor"));
    }
  }

  const std::filesystem::path& path_;
  std::uint64_t header_bytes_;
  std::uint64_t data_bytes_;
  std::uint32_t file_index_;
  std::string_view tensor_;  // the entry being looked at, for messages
  SafetensorsHeader header_;
};

// `read` fills a span with the file's bytes from an offset on.
template <typename Read>
SafetensorsHeader parse_file(const std::filesystem::path& path, std::uint64_t file_bytes,
                             std::uint32_t file_index, const Read& read) {
  std::array<std::byte, kLengthBytes> first{};
  if (file_bytes < first.size()) {
    throw FormatError(path, str_cat("is not safetensors: it has ", file_bytes,
                                    " bytes, less than the length of a header"));
  }
  read(0, std::span(first));
  const std::uint64_t header_bytes = checked_header_bytes(first, file_bytes, path);
  std::string json(static_cast<std::size_t>(header_bytes) + simdjson::SIMDJSON_PADDING, ' ');
  read(kLengthBytes, std::as_writable_bytes(std::span(json)).first(header_bytes));
  HeaderParser parser(path, header_bytes, file_bytes - kLengthBytes - header_bytes, file_index);
  return parser.parse(std::string_view{json}.substr(0, header_bytes), json.size());
}

}  // namespace

std::optional<DType> safetensors_dtype(std::string_view name) {
  const auto dtype = dtype_from_name(name);
  if (!dtype || is_block(*dtype) || *dtype == DType::kC128) return std::nullopt;
  return dtype;
}

SafetensorsHeader read_safetensors_header(const File& file, std::uint32_t file_index) {
  return parse_file(
      file.path(), file.size(), file_index,
      [&](std::uint64_t offset, std::span<std::byte> out) { file.read_at(offset, out); });
}

SafetensorsHeader parse_safetensors(std::span<const std::byte> file,
                                    const std::filesystem::path& path) {
  return parse_file(path, file.size(), /*file_index=*/0,
                    [&](std::uint64_t offset, std::span<std::byte> out) {
                      std::ranges::copy(file.subspan(offset, out.size()), out.begin());
                    });
}

}  // namespace shoehorn
