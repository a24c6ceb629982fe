#include "quant/quant_state.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

using Json = nlohmann::json;

// As in weight_form: no tensor of a model is near it, and sizes in bytes stay far from overflow.
constexpr std::int64_t kMostElements = std::int64_t{1} << 56;

/// Python's repr of a float: the shortest digits that read back the same, with an exponent of at
/// least two digits below 1e-4 and from 1e16 on.
std::string python_repr(double value) {
  // The shortest digits, always as d.ddde±dd.
  std::array<char, 32> buffer{};
  const auto written = std::to_chars(buffer.data(), buffer.data() + buffer.size(), std::fabs(value),
                                     std::chars_format::scientific);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(written.ptr - buffer.data()));
  const std::size_t e = text.find('e');
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  int exponent = 0;
  const std::size_t sign = text[e + 1] == '+' ? 1 : 0;  // from_chars reads '-' alone
  std::from_chars(text.data() + e + 1 + sign, text.data() + text.size(), exponent);

  std::string out = std::signbit(value) ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    return out.append(text.substr(e));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

bool is_state_dtype(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

bool fits_float32(double value) {
  return std::fabs(value) <= static_cast<double>(std::numeric_limits<float>::max());
}

/// The top level of the JSON, with typed look-ups that name the key when they complain.
class Keys {
 public:
  Keys(const Json& object, std::string_view where) : object_(object), where_(where) {}

  const Json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }

  const Json& at(const char* key) const {
    const Json* found = find(key);
    if (found == nullptr) throw FormatError(str_cat(where_, ": ", key, " is missing"));
    return *found;
  }

  std::string text(const char* key) const {
    const Json& value = at(key);
    if (!value.is_string()) fail(key, "a string");
    return value.get<std::string>();
  }

  std::int64_t integer(const char* key, const Json& value, const std::string& expected) const {
    // nlohmann keeps every integer from 0 on as unsigned.
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > INT64_MAX) fail(key, expected);
    return static_cast<std::int64_t>(value.get<std::uint64_t>());
  }

  DType dtype(const char* key) const {
    const std::string name = text(key);
    const auto dtype = dtype_from_torch_name(name);
    if (!dtype || !is_state_dtype(*dtype)) fail(key, "\"float32\", \"float16\" or \"bfloat16\"");
    return *dtype;
  }

  [[noreturn]] void fail(const char* key, const std::string& expected) const {
    throw FormatError(str_cat(where_, ": ", key, ": expected ", expected, ", found ", shown(key)));
  }

  /// The value in ASCII, cut to a sane length.
  std::string shown(const char* key) const {
    std::string value = at(key).dump(-1, ' ', true, Json::error_handler_t::replace);
    if (value.size() > 80) value = value.substr(0, 80) + "...";
    return value;
  }

 private:
  const Json& object_;
  std::string_view where_;
};

QuantType read_quant_type(const Keys& keys, std::string_view where) {
  const auto type = quant_type_from_name(keys.text("quant_type"));
  if (type == QuantType::kNF4 || type == QuantType::kFP4) return *type;
  throw UnsupportedError(str_cat(where, ": quant_type: found ", keys.shown("quant_type"),
                                 "; shoehorn reads \"nf4\" and \"fp4\""));
}

Shape read_shape(const Keys& keys) {
  const Json& value = keys.at("shape");
  const std::string expected =
      str_cat("a list of 1 to ", Shape::kMaxRank, " sizes of less than 2^56 values together");
  if (!value.is_array() || value.empty() || value.size() > Shape::kMaxRank) {
    keys.fail("shape", expected);
  }
  std::vector<std::int64_t> sizes;
  for (const Json& size : value) sizes.push_back(keys.integer("shape", size, expected));
  const Shape shape(sizes);
  const auto elements = shape.checked_elements();
  if (!elements || *elements >= kMostElements) keys.fail("shape", expected);
  return shape;
}

std::optional<QuantState::Nested> read_nested(const Keys& keys) {
  if (keys.find("nested_blocksize") == nullptr && keys.find("nested_dtype") == nullptr &&
      keys.find("nested_offset") == nullptr) {
    return std::nullopt;
  }
  QuantState::Nested nested;
  const std::string only = str_cat(kNestedBlocksize);
  nested.blocksize = keys.integer("nested_blocksize", keys.at("nested_blocksize"), only);
  if (nested.blocksize != kNestedBlocksize) keys.fail("nested_blocksize", only);
  nested.dtype = keys.dtype("nested_dtype");
  if (nested.dtype != DType::kF32) keys.fail("nested_dtype", "\"float32\"");
  const Json& offset = keys.at("nested_offset");
  if (!offset.is_number() || !fits_float32(offset.get<double>())) {
    keys.fail("nested_offset", "a number that fits float32");
  }
  nested.offset = offset.get<double>();
  return nested;
}

void check_writable(const QuantState& state) {
  const auto refuse = [](const char* key, const auto& found) {
    throw ArgumentError(str_cat("quant_state: ", key, " cannot be ", found));
  };
  if (state.quant_type != QuantType::kNF4 && state.quant_type != QuantType::kFP4) {
    refuse("quant_type", to_string(state.quant_type));
  }
  if (!is_four_bit_blocksize(state.blocksize)) refuse("blocksize", state.blocksize);
  if (!is_state_dtype(state.dtype)) refuse("dtype", to_string(state.dtype));
  const auto elements = state.shape.checked_elements();
  if (state.shape.rank() == 0 || !elements || *elements >= kMostElements) {
    refuse("shape", to_string(state.shape));
  }
  if (!state.nested) return;
  if (state.nested->blocksize != kNestedBlocksize) {
    refuse("nested_blocksize", state.nested->blocksize);
  }
  if (state.nested->dtype != DType::kF32) refuse("nested_dtype", to_string(state.nested->dtype));
  if (!fits_float32(state.nested->offset)) refuse("nested_offset", state.nested->offset);
}

}  // namespace

std::string quant_state_key(QuantType type) {
  return str_cat(kQuantStatePrefix, to_string(type));
}

std::string quant_state_json(const QuantState& state) {
  check_writable(state);
  std::string json =
      str_cat("{\"quant_type\": \"", to_string(state.quant_type),
              "\", \"blocksize\": ", state.blocksize, ", \"dtype\": \"",
              dtype_info(state.dtype).torch_name, "\", \"shape\": ", to_string(state.shape));
  if (state.nested) {
    json += str_cat(", \"nested_blocksize\": ", state.nested->blocksize, ", \"nested_dtype\": \"",
                    dtype_info(state.nested->dtype).torch_name,
                    "\", \"nested_offset\": ", python_repr(state.nested->offset));
  }
  return json + "}";
}

QuantState parse_quant_state(std::string_view json, std::string_view where) {
  if (json.size() > kMostQuantStateBytes) {
    throw FormatError(str_cat(where, ": ", json.size(), " bytes of JSON; at most ",
                              kMostQuantStateBytes, " are read"));
  }
  const Json object = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) throw FormatError(str_cat(where, ": expected a JSON object"));
  const Keys keys(object, where);
  QuantState state;
  state.quant_type = read_quant_type(keys, where);
  const std::string blocksizes = "32, 64, 128, 256, 512, 1024, 2048 or 4096";
  state.blocksize = keys.integer("blocksize", keys.at("blocksize"), blocksizes);
  if (!is_four_bit_blocksize(state.blocksize)) keys.fail("blocksize", blocksizes);
  state.dtype = keys.dtype("dtype");
  state.shape = read_shape(keys);
  state.nested = read_nested(keys);
  return state;
}

}  // namespace shoehorn
