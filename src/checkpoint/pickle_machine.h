// Python's pickle format (all protocols to 5) as far as it describes data: a stack machine that
// builds tensors, dicts, lists, tuples, strings and numbers. It has no way to run anything: the
// names of torch_globals.h stand for themselves, and every other name and opcode is refused.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/byte_source.h"
#include "checkpoint/torch_globals.h"

namespace shoehorn::pickle {

/// The number of a value in its Pickle. Values may be shared, and lists and dicts may hold
/// themselves: whoever walks over them bounds his depth.
using Ref = std::uint32_t;

enum class Kind : std::uint8_t {
  kNone,
  kBool,
  kInteger,
  kBigInteger,  // beyond 64 bits: its bytes, little-endian, as text
  kFloat,
  kText,
  kList,
  kTuple,
  kDict,     // items: key, value, key, value, ... in the order they were set
  kGlobal,   // a name of torch_globals.h
  kStorage,  // items: what persistent_id said of it
  kTensor,   // items: the arguments of `global`, a _rebuild_tensor function
};

struct Value {
  Kind kind = Kind::kNone;
  Global global = {};  // of kGlobal and kTensor
  std::variant<std::monostate, std::int64_t, double, std::string_view, std::vector<Ref>> data = {};

  std::int64_t integer() const { return std::get<std::int64_t>(data); }  // and kBool
  std::string_view text() const { return std::get<std::string_view>(data); }
  std::span<const Ref> items() const { return std::get<std::vector<Ref>>(data); }
};

/// What a pickle describes. Movable; owns the bytes that text points into.
struct Pickle {
  std::vector<std::byte> bytes;
  std::vector<Value> values;
  std::vector<Ref> storages;  // in the order they were named
  Ref root = 0;
  std::uint64_t end = 0;  // offset in the source behind its STOP

  const Value& at(Ref ref) const { return values[ref]; }
};

/// "an int", "a dict", ... for messages.
std::string_view kind_name(Kind kind);

/// Reads the pickle that begins at `begin` and ends before `end`. `what` is what messages call it
/// ("data.pkl"). Throws FormatError for what is damaged or makes no sense (SETITEM on a list),
/// UnsupportedError naming the opcode or global that is refused. Memory stays below a fixed bound
/// and time is linear in the bytes, whatever they say.
Pickle read_pickle(const ByteSource& source, std::uint64_t begin, std::uint64_t end,
                   const std::string& what);

}  // namespace shoehorn::pickle
