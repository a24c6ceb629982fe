// Every tensor that was recorded from bitsandbytes of four bits, double quantization, 8-bit blocks
// and rows of LLM.int8(): the same names in the file as its description lists, and the same bits
// from us.
#include "quant_golden.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/str_cat.h"
#include "quant/blockwise.h"
#include "quant/code_books.h"
#include "quant/four_bit.h"
#include "quant/int8_rows.h"
#include "quant/nested_absmax.h"
#include "quant/quant_state.h"

namespace shoehorn {
namespace {

using quant_golden::bits_of;
using quant_golden::Golden;
using quant_golden::Recorded;
using quant_golden::rounded_to;
using quant_golden::same_numbers;

const Golden& golden() {
  return Golden::instance();
}

std::string text_of(const Recorded& recorded) {
  return {reinterpret_cast<const char*>(recorded.bytes.data()), recorded.bytes.size()};
}

struct Input {
  std::string name;
  std::vector<std::string> dtypes;
};

const std::vector<Input> all_inputs = {
    {"normal4096", {"f32", "f16", "bf16"}},
    {"tail9000", {"f32"}},
    {"odd5001", {"f32", "f16", "bf16"}},
    {"zeros130", {"f32", "f16", "bf16"}},
    {"allzero128", {"f32"}},
    {"outlier520", {"f32", "f16", "bf16"}},
    {"huge128", {"f32", "bf16"}},
    {"subnormal200", {"f32"}},
    {"subnormal16", {"f16"}},
    {"negonly203", {"f32", "f16", "bf16"}},
    {"one1", {"f32"}},
    {"three3", {"f32", "f16"}},
    {"edges_nf4", {"f32"}},
    {"edges_fp4", {"f32"}},
    {"mat48x128", {"f32", "f16", "bf16"}},
    {"mat8x96", {"f32", "bf16"}},
};

struct FourBitCase {
  QuantType type = QuantType::kNF4;
  std::int64_t blocksize = 64;
  std::string dtype;
  std::string name;

  std::string input() const { return str_cat("in.", name, ".", dtype); }
  std::string prefix() const {
    return str_cat("q4.", to_string(type), ".bs", blocksize, ".", dtype, ".", name);
  }
  bool has_values() const { return blocksize == 64 || (blocksize == 4096 && name == "tail9000"); }
};

std::vector<FourBitCase> four_bit_cases() {
  std::vector<FourBitCase> cases;
  for (const Input& input : all_inputs) {
    for (const std::string& dtype : input.dtypes) {
      const std::size_t values = golden().at("in." + input.name + "." + dtype).floats().size();
      for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
        if (input.name.starts_with("edges_") && input.name.substr(6) != to_string(type)) continue;
        for (std::int64_t blocksize = 32; blocksize <= 4096; blocksize *= 2) {
          if (values < 300 && blocksize > 256) continue;
          if (dtype != "f32" && blocksize != 64 && blocksize != 128 && blocksize != 4096) continue;
          cases.push_back({type, blocksize, dtype, input.name});
        }
      }
    }
  }
  return cases;
}

struct FourBits {
  std::vector<std::uint8_t> packed;
  std::vector<float> absmax;
};

FourBits quantized(QuantType type, std::int64_t blocksize, const std::vector<float>& x,
                   BnbParity parity = BnbParity::kCpu) {
  const auto block = static_cast<std::size_t>(blocksize);
  FourBits out{.packed = std::vector<std::uint8_t>((x.size() + 1) / 2),
               .absmax = std::vector<float>((x.size() + block - 1) / block)};
  quantize_four_bit(type, blocksize, parity, x, out.packed, out.absmax);
  return out;
}

std::vector<float> dequantized(const FourBitParts& parts) {
  std::vector<float> out(static_cast<std::size_t>(parts.elements));
  dequantize_four_bit(parts, 0, parts.elements, out.data());
  return out;
}

/// Values of the recorded bytes, so that a wrong code shows in one test and not in two.
std::vector<float> recorded_values(const FourBitCase& c) {
  const auto packed = golden().at(c.prefix() + ".packed").as<std::uint8_t>();
  const auto absmax = golden().at(c.prefix() + ".absmax").as<float>();
  const Recorded& input = golden().at(c.input());
  return rounded_to(input.dtype, dequantized({.elements = input.shape.elements(),
                                              .blocksize = c.blocksize,
                                              .packed = packed.data(),
                                              .absmax = absmax.data(),
                                              .quant_map = four_bit_code(c.type).data()}));
}

TEST(QuantizeFourBit, AllRecordedCasesAreThere) {
  std::set<std::string> expected;
  for (const FourBitCase& c : four_bit_cases()) {
    expected.insert({c.prefix() + ".packed", c.prefix() + ".absmax"});
    if (c.has_values()) expected.insert(c.prefix() + ".deq");
    if (c.blocksize == 64 && c.name == "mat8x96") expected.insert(c.prefix() + ".deq_native_wrong");
  }
  EXPECT_EQ(golden().names("q4."), expected);
  EXPECT_EQ(expected.size(), 550U);
}

TEST(QuantizeFourBit, PackedBytesAreThoseOfBitsandbytes) {
  for (const FourBitCase& c : four_bit_cases()) {
    const Recorded& packed = golden().at(c.prefix() + ".packed");
    const std::vector<float> x = golden().at(c.input()).floats();
    EXPECT_EQ(quantized(c.type, c.blocksize, x).packed, packed.as<std::uint8_t>()) << c.prefix();
    const auto bytes = static_cast<std::int64_t>((x.size() + 1) / 2);
    EXPECT_EQ(packed.shape, Shape({bytes, 1})) << c.prefix();
  }
}

TEST(QuantizeFourBit, AbsmaxAreThoseOfBitsandbytes) {
  for (const FourBitCase& c : four_bit_cases()) {
    EXPECT_EQ(bits_of(quantized(c.type, c.blocksize, golden().at(c.input()).floats()).absmax),
              bits_of(golden().at(c.prefix() + ".absmax").as<float>()))
        << c.prefix();
  }
}

TEST(QuantizeFourBit, WithoutParityTheBytesAreTheSame) {
  for (const FourBitCase& c : four_bit_cases()) {
    const std::vector<float> x = golden().at(c.input()).floats();
    EXPECT_EQ(quantized(c.type, c.blocksize, x, BnbParity::kNone).packed,
              golden().at(c.prefix() + ".packed").as<std::uint8_t>())
        << c.prefix();
  }
}

TEST(QuantizeFourBit, StorageTypesViewTheSameBytes) {
  constexpr std::int64_t kBytes = 48 * 128 / 2;
  const std::vector<float> x = golden().at("in.mat48x128.f32").floats();
  const FourBits ours = quantized(QuantType::kNF4, 64, x);
  const std::string prefix = "q4storage.nf4.bs64.f32.mat48x128.";
  std::set<std::string> expected;
  for (const char* storage : {"int8", "float16", "bfloat16", "float32"}) {
    expected.insert(prefix + storage);
    const Recorded& recorded = golden().at(prefix + storage);
    EXPECT_EQ(recorded.dtype, dtype_from_torch_name(storage));
    const auto size = static_cast<std::int64_t>(dtype_info(recorded.dtype).block_bytes);
    EXPECT_EQ(recorded.shape, Shape({kBytes / size, 1})) << storage;
    EXPECT_EQ(recorded.as<std::uint8_t>(), ours.packed) << storage;
  }
  EXPECT_EQ(golden().names("q4storage."), expected);
}

TEST(DequantizeFourBit, ValuesAreThoseOfBitsandbytes) {
  for (const FourBitCase& c : four_bit_cases()) {
    if (!c.has_values()) continue;
    EXPECT_TRUE(same_numbers(recorded_values(c), golden().at(c.prefix() + ".deq").floats()))
        << c.prefix();
  }
}

TEST(DequantizeFourBit, RowsThatAreNotWholeBlocksAreRightWhereTheirAvx512KernelIsNot) {
  int cases = 0;
  for (const FourBitCase& c : four_bit_cases()) {
    if (c.blocksize != 64 || c.name != "mat8x96") continue;
    const std::vector<float> wrong = golden().at(c.prefix() + ".deq_native_wrong").floats();
    EXPECT_FALSE(same_numbers(recorded_values(c), wrong)) << c.prefix();
    ++cases;
  }
  EXPECT_EQ(cases, 4);
}

struct NestedCase {
  QuantType type = QuantType::kNF4;
  std::string name;   // "n640"
  std::string dtype;  // "bf16"

  std::string input() const { return "nested.in." + name + "." + dtype; }
  std::string plain() const { return "nested.absmax_f32." + dtype + "." + name; }
  std::string prefix() const {
    return str_cat("nested.", to_string(type), ".bs64.", dtype, ".", name);
  }
  std::string part(const char* name) const { return prefix() + "." + name; }
  /// The largest was recorded once.
  bool has_values() const { return type == QuantType::kNF4 || name != "n44800"; }
};

std::vector<NestedCase> nested_cases() {
  std::vector<NestedCase> cases;
  for (const QuantType type : {QuantType::kNF4, QuantType::kFP4}) {
    cases.insert(cases.end(), {{type, "n64", "f32"},
                               {type, "n640", "f32"},
                               {type, "n640", "bf16"},
                               {type, "n20480", "f32"},
                               {type, "n44800", "f16"}});
  }
  return cases;
}

struct Nested {
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;
  float offset = 0;
};

Nested nested(const std::vector<float>& absmax, BnbParity parity) {
  Nested out{.codes = std::vector<std::uint8_t>(absmax.size()),
             .absmax = std::vector<float>((absmax.size() + 255) / 256)};
  nest_absmax(absmax, parity, out.codes, out.absmax, out.offset);
  return out;
}

/// How far apart two floats of one sign are, counted in floats.
std::int64_t ulps(float a, float b) {
  return std::abs(static_cast<std::int64_t>(std::bit_cast<std::int32_t>(a)) -
                  std::bit_cast<std::int32_t>(b));
}

TEST(NestAbsmax, AllRecordedCasesAreThere) {
  std::set<std::string> expected;
  for (const NestedCase& c : nested_cases()) {
    expected.insert({c.input(), c.plain()});
    for (const char* name :
         {"offset", "absmax", "nested_absmax", "absmax_deq", "packed", "quant_state_json"}) {
      expected.insert(c.part(name));
    }
    if (c.has_values()) expected.insert(c.part("deq"));
  }
  EXPECT_EQ(golden().names("nested."), expected);
  EXPECT_EQ(expected.size(), 79U);
}

TEST(NestAbsmax, BlocksAreQuantizedAsWithoutNesting) {
  for (const NestedCase& c : nested_cases()) {
    const FourBits ours = quantized(c.type, 64, golden().at(c.input()).floats());
    EXPECT_EQ(bits_of(ours.absmax), bits_of(golden().at(c.plain()).as<float>())) << c.plain();
    EXPECT_EQ(ours.packed, golden().at(c.part("packed")).as<std::uint8_t>()) << c.prefix();
  }
}

TEST(NestAbsmax, OffsetsAreThoseOfTorchOnOneThread) {
  for (const NestedCase& c : nested_cases()) {
    const Nested ours = nested(golden().at(c.plain()).as<float>(), BnbParity::kCpu);
    EXPECT_EQ(bits_of({ours.offset}), bits_of(golden().at(c.part("offset")).as<float>()))
        << c.prefix();
  }
}

TEST(NestAbsmax, WithoutParityOffsetsAreTwoUlpAway) {
  for (const NestedCase& c : nested_cases()) {
    const Nested ours = nested(golden().at(c.plain()).as<float>(), BnbParity::kNone);
    EXPECT_LE(ulps(ours.offset, golden().at(c.part("offset")).as<float>().at(0)), 2) << c.prefix();
  }
}

TEST(NestAbsmax, CodesAndScalesAreThoseOfBitsandbytes) {
  for (const NestedCase& c : nested_cases()) {
    const Nested ours = nested(golden().at(c.plain()).as<float>(), BnbParity::kCpu);
    EXPECT_EQ(ours.codes, golden().at(c.part("absmax")).as<std::uint8_t>()) << c.prefix();
    EXPECT_EQ(bits_of(ours.absmax), bits_of(golden().at(c.part("nested_absmax")).as<float>()))
        << c.prefix();
  }
}

TEST(NestAbsmax, CodesFollowFromTheRecordedOffset) {
  for (const NestedCase& c : nested_cases()) {
    std::vector<float> differences = golden().at(c.plain()).as<float>();
    const float offset = golden().at(c.part("offset")).as<float>().at(0);
    for (float& difference : differences) difference -= offset;
    std::vector<std::uint8_t> codes(differences.size());
    std::vector<float> absmax((differences.size() + 255) / 256);
    quantize_blockwise(dynamic_map(), 256, BnbParity::kCpu, differences, codes, absmax);
    EXPECT_EQ(codes, golden().at(c.part("absmax")).as<std::uint8_t>()) << c.prefix();
    EXPECT_EQ(bits_of(absmax), bits_of(golden().at(c.part("nested_absmax")).as<float>()))
        << c.prefix();
  }
}

TEST(UnnestAbsmax, AbsmaxAreThoseOfBitsandbytes) {
  for (const NestedCase& c : nested_cases()) {
    const auto codes = golden().at(c.part("absmax")).as<std::uint8_t>();
    std::vector<float> absmax(codes.size());
    unnest_absmax(codes, golden().at(c.part("nested_absmax")).as<float>(), dynamic_map(),
                  golden().at(c.part("offset")).as<float>().at(0), absmax);
    EXPECT_EQ(bits_of(absmax), bits_of(golden().at(c.part("absmax_deq")).as<float>()))
        << c.prefix();
  }
}

TEST(DequantizeFourBit, NestedValuesAreThoseOfBitsandbytes) {
  for (const NestedCase& c : nested_cases()) {
    if (!c.has_values()) continue;
    const Recorded& expected = golden().at(c.part("deq"));
    const auto packed = golden().at(c.part("packed")).as<std::uint8_t>();
    const auto codes = golden().at(c.part("absmax")).as<std::uint8_t>();
    const auto nested_absmax = golden().at(c.part("nested_absmax")).as<float>();
    const FourBitParts parts{.elements = expected.shape.elements(),
                             .packed = packed.data(),
                             .absmax_codes = codes.data(),
                             .nested_absmax = nested_absmax.data(),
                             .nested_quant_map = dynamic_map().data(),
                             .nested_offset = golden().at(c.part("offset")).as<float>().at(0),
                             .quant_map = four_bit_code(c.type).data()};
    EXPECT_TRUE(same_numbers(rounded_to(expected.dtype, dequantized(parts)), expected.floats()))
        << c.prefix();
  }
}

QuantState recorded_state(const NestedCase& c) {
  const Recorded& input = golden().at(c.input());
  const double offset = golden().at(c.part("offset")).as<float>().at(0);
  return {.quant_type = c.type,
          .blocksize = 64,
          .dtype = input.dtype,
          .shape = input.shape,
          .nested = QuantState::Nested{.offset = offset}};
}

TEST(QuantStateJson, BytesAreThoseOfBitsandbytes) {
  for (const NestedCase& c : nested_cases()) {
    EXPECT_EQ(quant_state_json(recorded_state(c)),
              text_of(golden().at(c.part("quant_state_json"))));
  }
}

TEST(ParseQuantState, ReadsWhatBitsandbytesWrote) {
  for (const NestedCase& c : nested_cases()) {
    const std::string name = c.part("quant_state_json");
    EXPECT_EQ(parse_quant_state(text_of(golden().at(name)), name), recorded_state(c)) << name;
  }
}

TEST(CodeBooks, MapsAreThoseOfBitsandbytes) {
  const auto expect_same = [](const char* name, auto map) {
    EXPECT_EQ(bits_of({map.begin(), map.end()}), bits_of(golden().at(name).as<float>())) << name;
  };
  expect_same("map.nf4", four_bit_code(QuantType::kNF4));
  expect_same("map.fp4", four_bit_code(QuantType::kFP4));
  expect_same("map.dynamic", dynamic_map());
  expect_same("map.udynamic", unsigned_dynamic_map());
  EXPECT_EQ(golden().names("map.").size(), 4U);
}

struct BlockwiseCase {
  bool with_signs = true;
  std::int64_t blocksize = 256;
  std::string dtype;
  std::string name;

  std::string prefix() const {
    return str_cat(with_signs ? "q8.dynamic.bs" : "q8.udynamic.bs", blocksize, ".", dtype, ".",
                   name);
  }
  std::span<const float, 256> map() const {
    return with_signs ? dynamic_map() : unsigned_dynamic_map();
  }
  const Recorded& input() const { return golden().at("in." + name + "." + dtype); }
  std::vector<float> values() const {
    std::vector<float> x = input().floats();
    for (float& value : x) value = with_signs ? value : std::fabs(value);
    return x;
  }
};

std::vector<BlockwiseCase> blockwise_cases() {
  const std::set<std::string> names = {"normal4096", "odd5001", "zeros130", "outlier520",
                                       "negonly203", "three3",  "mat48x128"};
  std::vector<BlockwiseCase> cases;
  for (const Input& input : all_inputs) {
    if (!names.contains(input.name)) continue;
    for (const std::string& dtype : input.dtypes) {
      for (const std::int64_t blocksize : {64, 256, 4096}) {
        if (dtype != "f32" && blocksize != 256) continue;
        for (const bool with_signs : {true, false}) {
          cases.push_back({with_signs, blocksize, dtype, input.name});
        }
      }
    }
  }
  return cases;
}

struct Blockwise {
  std::vector<std::uint8_t> codes;
  std::vector<float> absmax;
};

Blockwise quantized(const BlockwiseCase& c, BnbParity parity) {
  const std::vector<float> x = c.values();
  const auto block = static_cast<std::size_t>(c.blocksize);
  Blockwise out{.codes = std::vector<std::uint8_t>(x.size()),
                .absmax = std::vector<float>((x.size() + block - 1) / block)};
  quantize_blockwise(c.map(), c.blocksize, parity, x, out.codes, out.absmax);
  return out;
}

TEST(QuantizeBlockwise, AllRecordedCasesAreThere) {
  std::set<std::string> expected;
  for (const BlockwiseCase& c : blockwise_cases()) {
    expected.insert({c.prefix() + ".codes", c.prefix() + ".absmax"});
    if (c.blocksize == 256) expected.insert(c.prefix() + ".deq");
  }
  EXPECT_EQ(golden().names("q8."), expected);
  EXPECT_EQ(expected.size(), 176U);
}

TEST(QuantizeBlockwise, CodesAreThoseOfBitsandbytes) {
  for (const BlockwiseCase& c : blockwise_cases()) {
    EXPECT_EQ(quantized(c, BnbParity::kCpu).codes,
              golden().at(c.prefix() + ".codes").as<std::uint8_t>())
        << c.prefix();
  }
}

TEST(QuantizeBlockwise, AbsmaxAreThoseOfBitsandbytes) {
  for (const BlockwiseCase& c : blockwise_cases()) {
    EXPECT_EQ(bits_of(quantized(c, BnbParity::kCpu).absmax),
              bits_of(golden().at(c.prefix() + ".absmax").as<float>()))
        << c.prefix();
  }
}

// Around zero their bins, 3.1e-5 wide, are as wide as what lies between two codes.
TEST(QuantizeBlockwise, WithoutParityCodesDifferByOneOrAtZero) {
  std::size_t values = 0;
  std::size_t off_by_one = 0;
  for (const BlockwiseCase& c : blockwise_cases()) {
    const std::vector<std::uint8_t> ours = quantized(c, BnbParity::kNone).codes;
    const auto theirs = golden().at(c.prefix() + ".codes").as<std::uint8_t>();
    values += ours.size();
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const bool at_zero = std::fabs(c.map()[theirs[i]]) < 1e-4F;
      const int distance = std::abs(ours[i] - theirs[i]);
      if (at_zero) {
        EXPECT_NEAR(c.map()[ours[i]], c.map()[theirs[i]], 5e-5F) << c.prefix() << " " << i;
      } else {
        EXPECT_LE(distance, 1) << c.prefix() << " " << i;
        off_by_one += distance != 0 ? 1U : 0U;
      }
    }
  }
  // Some 0.1 % where values are normal, more where many are near zero.
  EXPECT_LT(off_by_one, values / 50);
}

TEST(DequantizeBlockwise, ValuesAreThoseOfBitsandbytes) {
  for (const BlockwiseCase& c : blockwise_cases()) {
    if (c.blocksize != 256) continue;
    const auto codes = golden().at(c.prefix() + ".codes").as<std::uint8_t>();
    std::vector<float> values(codes.size());
    dequantize_blockwise(c.map(), 256, codes, golden().at(c.prefix() + ".absmax").as<float>(),
                         values.data());
    EXPECT_TRUE(same_numbers(rounded_to(c.input().dtype, values),
                             golden().at(c.prefix() + ".deq").floats()))
        << c.prefix();
  }
}

const std::array<std::string, 5> int8_cases = {"r5x128", "r1x128", "r7x97", "ties2x256",
                                               "nooutlier4x64"};

struct Int8Rows {
  std::vector<std::int8_t> q;
  std::vector<float> stats;
  std::vector<std::int64_t> outlier_columns;
};

Int8Rows quantized_rows(const std::string& name, int threshold) {
  const Recorded& x = golden().at("int8rows." + name + ".x");
  const std::int64_t rows = x.shape[0];
  const std::int64_t k = x.shape[1];
  Int8Rows out{.q = std::vector<std::int8_t>(static_cast<std::size_t>(rows * k)),
               .stats = std::vector<float>(static_cast<std::size_t>(rows)),
               .outlier_columns = {}};
  quantize_int8_rows(x.floats(), rows, k, static_cast<float>(threshold), out.q, out.stats,
                     &out.outlier_columns);
  return out;
}

template <typename Check>
void for_each_int8_result(const Check& check) {
  for (const std::string& name : int8_cases) {
    for (const int threshold : {0, 3, 6}) {
      const std::string prefix = str_cat("int8rows.", name, ".t", threshold);
      SCOPED_TRACE(prefix);
      check(prefix, threshold, quantized_rows(name, threshold));
    }
  }
}

TEST(QuantizeInt8Rows, AllRecordedCasesAreThere) {
  std::set<std::string> expected;
  for_each_int8_result([&](const std::string& prefix, int threshold, const Int8Rows&) {
    expected.insert({prefix + ".q", prefix + ".stats"});
    if (threshold > 0) expected.insert(prefix + ".outlier_cols");
  });
  for (const std::string& name : int8_cases) {
    expected.insert({"int8rows." + name + ".x", "int8rows." + name + ".deq"});
  }
  EXPECT_EQ(golden().names("int8rows."), expected);
  EXPECT_EQ(expected.size(), 50U);
}

TEST(QuantizeInt8Rows, CodesAreThoseOfBitsandbytes) {
  for_each_int8_result([](const std::string& prefix, int, const Int8Rows& ours) {
    EXPECT_EQ(ours.q, golden().at(prefix + ".q").as<std::int8_t>());
  });
}

TEST(QuantizeInt8Rows, StatsAreThoseOfBitsandbytes) {
  for_each_int8_result([](const std::string& prefix, int, const Int8Rows& ours) {
    EXPECT_EQ(bits_of(ours.stats), bits_of(golden().at(prefix + ".stats").as<float>()));
  });
}

TEST(QuantizeInt8Rows, OutlierColumnsAreThoseOfBitsandbytes) {
  for_each_int8_result([](const std::string& prefix, int threshold, const Int8Rows& ours) {
    if (threshold == 0) {
      EXPECT_TRUE(ours.outlier_columns.empty());
    } else {
      EXPECT_EQ(ours.outlier_columns, golden().at(prefix + ".outlier_cols").as<std::int64_t>());
    }
  });
}

TEST(DequantizeInt8Rows, ValuesAreThoseOfBitsandbytes) {
  for (const std::string& name : int8_cases) {
    const std::string prefix = "int8rows." + name;
    const Recorded& q = golden().at(prefix + ".t0.q");
    std::vector<float> values(static_cast<std::size_t>(q.shape.elements()));
    dequantize_int8_rows(q.as<std::int8_t>(), golden().at(prefix + ".t0.stats").as<float>(),
                         q.shape[0], q.shape[1], values.data());
    EXPECT_EQ(bits_of(values), bits_of(golden().at(prefix + ".deq").as<float>())) << name;
  }
}

}  // namespace
}  // namespace shoehorn
