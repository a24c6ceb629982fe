#include "checkpoint/gguf_reader.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include <simdjson.h>

#include "shoehorn/error.h"

#include "base/byte_order.h"
#include "base/checked.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::gguf {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kMaxHeaderBytes = 1ULL << 28;  // a vocabulary of 256,000 takes 15 MB
constexpr std::uint64_t kMaxReserve = 1 << 16;         // beyond that vectors grow with what is read
constexpr std::uint64_t kMaxKeyBytes = 65535;  // the format's own limit; used for tensor names too
constexpr std::uint32_t kMaxDimensions = 4;    // the format's own limit
constexpr int kMaxNesting = 8;                 // arrays in arrays
constexpr std::uint64_t kMinKeyValueBytes = 8 + 1 + 4 + 1;
constexpr std::uint64_t kMinTensorInfoBytes = 8 + 1 + 4 + 4 + 8;

/// ggml's numbering of tensor types, with ours where we have one.
struct TensorType {
  std::uint32_t number;
  std::string_view name;
  std::optional<DType> dtype;
};
constexpr std::array<TensorType, 34> kTensorTypes = {{
    {0, "F32", DType::kF32},        {1, "F16", DType::kF16},       {2, "Q4_0", DType::kQ4_0},
    {3, "Q4_1", DType::kQ4_1},      {6, "Q5_0", DType::kQ5_0},     {7, "Q5_1", DType::kQ5_1},
    {8, "Q8_0", DType::kQ8_0},      {9, "Q8_1", std::nullopt},     {10, "Q2_K", DType::kQ2_K},
    {11, "Q3_K", DType::kQ3_K},     {12, "Q4_K", DType::kQ4_K},    {13, "Q5_K", DType::kQ5_K},
    {14, "Q6_K", DType::kQ6_K},     {15, "Q8_K", std::nullopt},    {16, "IQ2_XXS", std::nullopt},
    {17, "IQ2_XS", std::nullopt},   {18, "IQ3_XXS", std::nullopt}, {19, "IQ1_S", std::nullopt},
    {20, "IQ4_NL", DType::kIQ4_NL}, {21, "IQ3_S", std::nullopt},   {22, "IQ2_S", std::nullopt},
    {23, "IQ4_XS", DType::kIQ4_XS}, {24, "I8", DType::kI8},        {25, "I16", DType::kI16},
    {26, "I32", DType::kI32},       {27, "I64", DType::kI64},      {28, "F64", DType::kF64},
    {29, "IQ1_M", std::nullopt},    {30, "BF16", DType::kBF16},    {34, "TQ1_0", std::nullopt},
    {35, "TQ2_0", std::nullopt},    {39, "MXFP4", DType::kMXFP4},  {40, "NVFP4", std::nullopt},
    {41, "Q1_0", std::nullopt},
}};

/// Reads the header front to back, fetching more of the file as it goes.
class HeaderCursor {
 public:
  explicit HeaderCursor(const ByteSource& source) : source_(source) {}

  std::size_t position() const { return position_; }
  std::uint64_t remaining() const { return source_.size - position_; }
  std::vector<std::byte> take_buffer() { return std::move(buffer_); }

  /// Makes the next `bytes` readable and moves past them; the offset of the first.
  std::size_t take(std::uint64_t bytes, std::string_view what) {
    if (bytes > remaining()) {
      fail(str_cat("ends inside ", what, ": ", bytes, " bytes expected at ", position_, ", ",
                   remaining(), " left"));
    }
    const std::size_t start = position_;
    if (start + bytes > buffer_.size()) fetch(start + bytes);
    position_ = start + static_cast<std::size_t>(bytes);
    return start;
  }

  template <typename T>
  T number(std::string_view what) {
    const std::size_t at = take(sizeof(T), what);
    return read_le<T>(buffer_.data() + at);
  }

  /// The offset and size of a string's text.
  std::pair<std::size_t, std::uint64_t> string(std::string_view what) {
    const auto size = number<std::uint64_t>(what);
    return {take(size, what), size};
  }

  /// Valid until the next call that reads.
  std::string_view text(std::size_t offset, std::uint64_t size) const {
    return {reinterpret_cast<const char*>(buffer_.data()) + offset, static_cast<std::size_t>(size)};
  }
  const std::byte* data() const { return buffer_.data(); }

  [[noreturn]] void fail(const std::string& what) const { throw FormatError(source_.path, what); }

 private:
  void fetch(std::uint64_t end) {
    if (end > kMaxHeaderBytes) {
      fail(str_cat("the header is larger than ", kMaxHeaderBytes >> 20, " MiB"));
    }
    constexpr std::uint64_t kFirstFetch = 1 << 20;
    const std::uint64_t wanted = std::max({end, kFirstFetch, std::uint64_t{2} * buffer_.size()});
    const std::size_t had = buffer_.size();
    buffer_.resize(static_cast<std::size_t>(std::min(wanted, source_.size)));
    source_.read_at(had, std::span(buffer_).subspan(had));
  }

  const ByteSource& source_;
  std::vector<std::byte> buffer_;
  std::size_t position_ = 0;
};

ValueType read_value_type(HeaderCursor& in, std::string_view key) {
  const auto type = in.number<std::uint32_t>("a value's type");
  if (type > static_cast<std::uint32_t>(ValueType::kFloat64)) {
    in.fail(str_cat("metadata key ", printable(key), ": value type ", type, " does not exist"));
  }
  return static_cast<ValueType>(type);
}

void check_bools(HeaderCursor& in, std::size_t offset, std::uint64_t count,
                 const std::string& key) {
  for (std::uint64_t i = 0; i < count; ++i) {
    if (std::to_integer<int>(in.data()[offset + i]) > 1) {
      in.fail(str_cat("metadata key ", printable(key), ": a bool is neither 0 nor 1"));
    }
  }
}

struct ArrayShape {
  ValueType element;
  std::uint64_t count;
  std::size_t offset;
};

/// Walks over an array, checking that all of it is there.
ArrayShape skip_array(HeaderCursor& in, const std::string& key, int depth) {
  if (depth > kMaxNesting) {
    in.fail(str_cat("metadata key ", printable(key), ": arrays nested more than ", kMaxNesting,
                    " deep"));
  }
  const ValueType element = read_value_type(in, key);
  const auto count = in.number<std::uint64_t>("an array's length");
  const std::size_t fixed = value_size(element);
  // A string takes 8 bytes at least, an array 12: what the file cannot hold is refused unread.
  const std::size_t least = fixed != 0 ? fixed : (element == ValueType::kString ? 8 : 12);
  if (count > in.remaining() / least) {
    in.fail(str_cat("metadata key ", printable(key), ": an array of ", count,
                    " elements does not fit the ", in.remaining(), " bytes that are left"));
  }
  const std::size_t offset = in.position();
  if (fixed != 0) {
    in.take(count * fixed, key);
    if (element == ValueType::kBool) check_bools(in, offset, count, key);
  } else {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (element == ValueType::kString) {
        in.string(key);
      } else {
        skip_array(in, key, depth + 1);
      }
    }
  }
  return {element, count, offset};
}

Metadata::Entry read_key_value(HeaderCursor& in) {
  Metadata::Entry entry;
  const auto [key_offset, key_size] = in.string("a metadata key");
  if (key_size == 0 || key_size > kMaxKeyBytes) {
    in.fail(
        str_cat("a metadata key has ", key_size, " bytes; 1 to ", kMaxKeyBytes, " are allowed"));
  }
  const std::string key(in.text(key_offset, key_size));
  entry.key_offset = key_offset;
  entry.key_size = static_cast<std::uint32_t>(key_size);
  entry.type = read_value_type(in, key);
  entry.offset = in.position();
  if (entry.type == ValueType::kArray) {
    const ArrayShape array = skip_array(in, key, 1);
    entry.element = array.element;
    entry.count = array.count;
    entry.offset = array.offset;
  } else if (entry.type == ValueType::kString) {
    in.string(key);
  } else {
    in.take(value_size(entry.type), key);
    if (entry.type == ValueType::kBool) check_bools(in, entry.offset, 1, key);
  }
  return entry;
}

std::string read_tensor_name(HeaderCursor& in) {
  const auto [offset, size] = in.string("a tensor's name");
  if (size == 0 || size > kMaxKeyBytes) {
    in.fail(str_cat("a tensor's name has ", size, " bytes; 1 to ", kMaxKeyBytes, " are allowed"));
  }
  std::string name(in.text(offset, size));
  if (!simdjson::validate_utf8(name.data(), name.size())) {
    in.fail(str_cat("the tensor name ", printable(name), " is not UTF-8"));
  }
  return name;
}

Shape read_shape(HeaderCursor& in, const std::string& name) {
  const auto rank = in.number<std::uint32_t>("a tensor's rank");
  if (rank > kMaxDimensions) {
    in.fail(str_cat("tensor ", printable(name), " has ", rank, " dimensions; ", kMaxDimensions,
                    " are allowed"));
  }
  std::array<std::int64_t, kMaxDimensions> dims{};
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto dim = in.number<std::uint64_t>("a tensor's shape");
    if (dim >> 63 != 0) {
      in.fail(str_cat("tensor ", printable(name), ": dimension ", dim, " is too large"));
    }
    dims[rank - 1 - i] = static_cast<std::int64_t>(dim);
  }
  return Shape(std::span<const std::int64_t>(dims.data(), rank));
}

DType read_tensor_type(HeaderCursor& in, const std::string& name,
                       const std::filesystem::path& path) {
  const auto number = in.number<std::uint32_t>("a tensor's type");
  const auto found = std::find_if(kTensorTypes.begin(), kTensorTypes.end(),
                                  [&](const TensorType& type) { return type.number == number; });
  if (found != kTensorTypes.end() && found->dtype) return *found->dtype;
  std::string known;
  for (const TensorType& type : kTensorTypes) {
    if (type.dtype) known += str_cat(known.empty() ? "" : ", ", type.name);
  }
  const std::string type =
      found == kTensorTypes.end() ? str_cat("number ", number) : std::string(found->name);
  throw UnsupportedError(str_cat(path.string(), ": tensor ", printable(name), " is stored as type ",
                                 type, "; supported are ", known));
}

/// A tensor info whose offset still counts from the start of the data.
TensorEntry read_tensor_info(HeaderCursor& in, const std::filesystem::path& path) {
  TensorEntry entry;
  entry.name = read_tensor_name(in);
  entry.shape = read_shape(in, entry.name);
  entry.dtype = read_tensor_type(in, entry.name, path);
  entry.offset = in.number<std::uint64_t>("a tensor's offset");
  const DTypeInfo& info = dtype_info(entry.dtype);
  const std::int64_t row = entry.shape.rank() == 0 ? 1 : entry.shape[-1];
  if (row % info.block_elements != 0) {
    in.fail(str_cat("tensor ", printable(entry.name), " ", to_string(entry.shape), ": rows of ",
                    info.name, " are multiples of ", info.block_elements));
  }
  const auto elements = entry.shape.checked_elements();
  const auto bytes = elements ? packed_bytes(entry.dtype, *elements) : std::nullopt;
  if (!bytes) {
    in.fail(str_cat("tensor ", printable(entry.name), ": the size of its shape ",
                    to_string(entry.shape), " overflows"));
  }
  entry.bytes = *bytes;
  return entry;
}

void check_unique_names(const std::vector<TensorEntry>& tensors,
                        const std::filesystem::path& path) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorEntry& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    throw FormatError(path, str_cat("two tensors are named ", printable(*twice)));
  }
}

/// Turns offsets into the file's own, sorts by them, and holds ranges against file and neighbours.
void place_tensors(std::vector<TensorEntry>& tensors, std::uint64_t data_start,
                   std::uint64_t alignment, const ByteSource& source) {
  for (TensorEntry& tensor : tensors) {
    if (tensor.offset % alignment != 0) {
      throw FormatError(source.path, str_cat("tensor ", printable(tensor.name), ": offset ",
                                             tensor.offset, " is not a multiple of ", alignment));
    }
    const auto start = checked_add(data_start, tensor.offset);
    const auto end = start ? checked_add<std::uint64_t>(*start, tensor.bytes) : std::nullopt;
    if (!end || *end > source.size) {
      throw FormatError(
          source.path, str_cat("tensor ", printable(tensor.name), ": its ", tensor.bytes,
                               " bytes at offset ", tensor.offset, " of the data reach beyond the ",
                               source.size, " bytes of the file"));
    }
    tensor.offset = *start;
  }
  std::stable_sort(tensors.begin(), tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
  });
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    const TensorEntry& before = tensors[i - 1];
    if (before.offset + before.bytes > tensors[i].offset) {
      throw FormatError(source.path, str_cat("tensors ", printable(before.name), " and ",
                                             printable(tensors[i].name), " overlap"));
    }
  }
}

std::uint32_t read_version(HeaderCursor& in, const std::filesystem::path& path) {
  if (in.remaining() < 4 || in.number<std::uint32_t>("the magic") != kMagic) {
    in.fail("is no GGUF file: it does not start with \"GGUF\"");
  }
  const auto version = in.number<std::uint32_t>("the version");
  if (version == 2 || version == 3) return version;
  if ((version & 0xFFFF) == 0 && version != 0) {
    throw UnsupportedError(str_cat(path.string(),
                                   ": is a big-endian GGUF file; supported are "
                                   "little-endian ones"));
  }
  throw UnsupportedError(
      str_cat(path.string(), ": is GGUF version ", version, "; supported are 2 and 3"));
}

std::uint64_t alignment_of(const Metadata& metadata) {
  const std::uint64_t alignment =
      metadata.find_uint("general.alignment").value_or(kDefaultAlignment);
  if (alignment == 0 || (alignment & (alignment - 1)) != 0 || alignment > kMaxHeaderBytes) {
    throw FormatError(metadata.path(),
                      str_cat("general.alignment: ", alignment, " is not a power of two"));
  }
  return alignment;
}

}  // namespace

Header read_header(const ByteSource& source) {
  HeaderCursor in(source);
  Header header;
  header.version = read_version(in, source.path);
  const auto tensor_count = in.number<std::uint64_t>("the number of tensors");
  const auto key_count = in.number<std::uint64_t>("the number of metadata keys");
  if (key_count > in.remaining() / kMinKeyValueBytes) {
    in.fail(str_cat("claims ", key_count, " metadata keys; the file has no room for them"));
  }
  std::vector<Metadata::Entry> entries;
  entries.reserve(static_cast<std::size_t>(std::min(key_count, kMaxReserve)));
  for (std::uint64_t i = 0; i < key_count; ++i) entries.push_back(read_key_value(in));

  if (tensor_count > in.remaining() / kMinTensorInfoBytes) {
    in.fail(str_cat("claims ", tensor_count, " tensors; the file has no room for them"));
  }
  header.tensors.reserve(static_cast<std::size_t>(std::min(tensor_count, kMaxReserve)));
  for (std::uint64_t i = 0; i < tensor_count; ++i) {
    header.tensors.push_back(read_tensor_info(in, source.path));
  }
  const std::uint64_t header_end = in.position();
  header.metadata = Metadata(source.path, in.take_buffer(), std::move(entries));
  const std::uint64_t alignment = alignment_of(header.metadata);
  const std::uint64_t data_start = (header_end + alignment - 1) / alignment * alignment;
  check_unique_names(header.tensors, source.path);
  place_tensors(header.tensors, data_start, alignment, source);
  return header;
}

}  // namespace shoehorn::gguf
