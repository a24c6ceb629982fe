#include "checkpoint/pickle_machine.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include "shoehorn/error.h"

#include "base/byte_order.h"
#include "base/str_cat.h"
#include "checkpoint/pickle_opcodes.h"
#include "checkpoint/printable.h"

namespace shoehorn::pickle {
namespace {

// 100,000 tensors take about 15 MB and 2 million values.
constexpr std::uint64_t kMaxPickleBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kFirstFetch = std::uint64_t{1} << 20;
constexpr std::size_t kMaxValues = std::size_t{4} << 20;
constexpr std::size_t kMaxStack = std::size_t{4} << 20;
constexpr std::size_t kMaxCopiedItems = std::size_t{1} << 20;  // into dicts made of lists
constexpr std::size_t kMaxNumberText = 64;
constexpr int kNewestProtocol = 5;
constexpr Ref kNoneRef = 0;
constexpr Ref kFalseRef = 1;
constexpr Ref kTrueRef = 2;
constexpr Ref kFirstSmallInteger = 3;
constexpr std::int64_t kSmallIntegers = 256;

constexpr std::string_view kAllowed =
    "only tensors, dicts, lists, tuples, strings and numbers are read from a pickle, and nothing "
    "in it is ever executed";

/// The source's bytes, fetched as the pickle goes on: nobody knows where it ends before.
class Cursor {
 public:
  Cursor(const ByteSource& source, std::uint64_t begin, std::uint64_t end, const std::string& what)
      : source_(source), begin_(begin), size_(end - begin), what_(what) {
    // Text points into the buffer, so it must not move: there is room for all of it from the start.
    bytes_.reserve(static_cast<std::size_t>(std::min(size_, kMaxPickleBytes)));
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw FormatError(source_.path, str_cat(what_, ": byte ", opcode_at_, ": ", what));
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw UnsupportedError(
        str_cat(source_.path.string(), ": ", what_, ": asks for ", what, "; ", kAllowed));
  }

  std::uint8_t opcode() {
    opcode_at_ = position_;
    return std::to_integer<std::uint8_t>(*take(1));
  }
  const std::byte* take(std::uint64_t count) {
    if (count > size_ - position_) fail("the pickle ends in the middle");
    if (position_ + count > bytes_.size()) fetch(position_ + count);
    const std::byte* at = bytes_.data() + position_;
    position_ += static_cast<std::size_t>(count);
    return at;
  }
  template <typename T>
  T number() {
    return read_le<T>(take(sizeof(T)));
  }
  std::string_view text(std::uint64_t count) {
    return {reinterpret_cast<const char*>(take(count)), static_cast<std::size_t>(count)};
  }
  /// Up to the line break, which is passed over.
  std::string_view line() {
    const std::size_t start = position_;
    while (*take(1) != std::byte{'\n'}) {
      if (position_ - start > kMaxLineBytes) fail("a line has no end");
    }
    return {reinterpret_cast<const char*>(bytes_.data()) + start, position_ - start - 1};
  }

  std::uint64_t end() const { return begin_ + position_; }
  std::vector<std::byte> take_buffer() { return std::move(bytes_); }

 private:
  static constexpr std::size_t kMaxLineBytes = 1024;

  void fetch(std::uint64_t needed) {
    if (needed > kMaxPickleBytes) {
      fail(str_cat("the pickle has more than ", kMaxPickleBytes >> 20, " MiB"));
    }
    const std::uint64_t wanted = std::max({needed, kFirstFetch, std::uint64_t{2} * bytes_.size()});
    const std::size_t had = bytes_.size();
    bytes_.resize(static_cast<std::size_t>(std::min({wanted, size_, kMaxPickleBytes})));
    source_.read_at(begin_ + had, std::span(bytes_).subspan(had));
  }

  const ByteSource& source_;
  std::uint64_t begin_;
  std::uint64_t size_;
  const std::string& what_;
  std::vector<std::byte> bytes_;
  std::size_t position_ = 0;
  std::size_t opcode_at_ = 0;
};

class Machine {
 public:
  explicit Machine(Cursor& in) : in_(in) {
    add({.kind = Kind::kNone});
    add({.kind = Kind::kBool, .data = std::int64_t{0}});
    add({.kind = Kind::kBool, .data = std::int64_t{1}});
    for (std::int64_t i = 0; i < kSmallIntegers; ++i) {
      add({.kind = Kind::kInteger, .data = i});
    }
  }

  Pickle run() {
    while (true) {
      const std::uint8_t code = in_.opcode();
      if (static_cast<Opcode>(code) == Opcode::kStop) break;
      step(code);
    }
    Pickle result;
    result.root = pop();
    if (!stack_.empty() || !marks_.empty()) in_.fail("STOP leaves values behind");
    result.values = std::move(values_);
    result.storages = std::move(storages_);
    result.end = in_.end();
    result.bytes = in_.take_buffer();
    return result;
  }

 private:
  void step(std::uint8_t code) {
    switch (static_cast<Opcode>(code)) {
      case Opcode::kProto: return check_protocol();
      case Opcode::kFrame: in_.number<std::uint64_t>(); return;  // only says how much to read
      case Opcode::kMark: return mark();
      case Opcode::kPop: return pop_any();
      case Opcode::kPopMark: take_marked(); return;
      case Opcode::kDup: return push(top());
      case Opcode::kNone: return push(kNoneRef);
      case Opcode::kNewtrue: return push(kTrueRef);
      case Opcode::kNewfalse: return push(kFalseRef);
      case Opcode::kInt: return push_int_text();
      case Opcode::kLong: return push_long_text();
      case Opcode::kBinint: return push_integer(in_.number<std::int32_t>());
      case Opcode::kBinint1: return push_integer(in_.number<std::uint8_t>());
      case Opcode::kBinint2: return push_integer(in_.number<std::uint16_t>());
      case Opcode::kLong1: return push_long(in_.number<std::uint8_t>());
      case Opcode::kLong4: return push_long(in_.number<std::uint32_t>());
      case Opcode::kFloat: return push_float_text();
      case Opcode::kBinfloat: return push_binfloat();
      case Opcode::kShortBinstring:
      case Opcode::kShortBinbytes:
      case Opcode::kShortBinunicode: return push_text(in_.number<std::uint8_t>());
      case Opcode::kBinstring:
      case Opcode::kBinbytes:
      case Opcode::kBinunicode: return push_text(in_.number<std::uint32_t>());
      case Opcode::kBinbytes8:
      case Opcode::kBinunicode8: return push_text(in_.number<std::uint64_t>());
      case Opcode::kEmptyList: return push_new(Kind::kList, {});
      case Opcode::kList: return push_new(Kind::kList, take_marked());
      case Opcode::kAppend: return append(take_top(1));
      case Opcode::kAppends: return append(take_marked());
      case Opcode::kEmptyTuple: return push_new(Kind::kTuple, {});
      case Opcode::kTuple: return push_new(Kind::kTuple, take_marked());
      case Opcode::kTuple1: return push_new(Kind::kTuple, take_top(1));
      case Opcode::kTuple2: return push_new(Kind::kTuple, take_top(2));
      case Opcode::kTuple3: return push_new(Kind::kTuple, take_top(3));
      case Opcode::kEmptyDict: return push_new(Kind::kDict, {});
      case Opcode::kDict: return push_new(Kind::kDict, pairs(take_marked()));
      case Opcode::kSetitem: return set_items(take_top(2));
      case Opcode::kSetitems: return set_items(pairs(take_marked()));
      case Opcode::kPut: return put(memo_index(in_.line()));
      case Opcode::kBinput: return put(in_.number<std::uint8_t>());
      case Opcode::kLongBinput: return put(in_.number<std::uint32_t>());
      case Opcode::kMemoize: return put(static_cast<std::uint32_t>(memo_count()));
      case Opcode::kGet: return get(memo_index(in_.line()));
      case Opcode::kBinget: return get(in_.number<std::uint8_t>());
      case Opcode::kLongBinget: return get(in_.number<std::uint32_t>());
      case Opcode::kGlobal: return push_global_lines();
      case Opcode::kStackGlobal: return push_stack_global();
      case Opcode::kBinpersid: return push_storage();
      case Opcode::kReduce: return reduce();
      case Opcode::kBuild: return build();
      case Opcode::kStop: return;
    }
    refuse_opcode(code);
  }

  [[noreturn]] void refuse_opcode(std::uint8_t code) const {
    for (const RefusedOpcode& refused : kRefusedOpcodes) {
      if (refused.code == code) in_.refuse(str_cat("the pickle opcode ", refused.name));
    }
    in_.fail(str_cat("there is no pickle opcode ", static_cast<int>(code)));
  }

  void check_protocol() {
    const int protocol = in_.number<std::uint8_t>();
    if (protocol > kNewestProtocol) in_.refuse(str_cat("pickle protocol ", protocol));
  }

  // Values and the stack.

  Ref add(Value value) {
    if (values_.size() == kMaxValues) in_.fail(str_cat("more than ", kMaxValues, " values"));
    values_.push_back(std::move(value));
    return static_cast<Ref>(values_.size() - 1);
  }
  void push(Ref ref) {
    if (stack_.size() == kMaxStack) in_.fail(str_cat("more than ", kMaxStack, " values at once"));
    stack_.push_back(ref);
  }
  void push_new(Kind kind, std::vector<Ref> items) {
    push(add({.kind = kind, .data = std::move(items)}));
  }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  void require(std::size_t count) const {
    if (stack_.size() - floor() < count) in_.fail("takes more values than there are");
  }
  Ref top() const {
    require(1);
    return stack_.back();
  }
  Ref pop() {
    const Ref ref = top();
    stack_.pop_back();
    return ref;
  }
  void mark() {
    if (marks_.size() == kMaxStack) in_.fail(str_cat("more than ", kMaxStack, " marks"));
    marks_.push_back(stack_.size());
  }
  void pop_any() {
    if (!marks_.empty() && marks_.back() == stack_.size()) {
      marks_.pop_back();
    } else {
      pop();
    }
  }
  std::vector<Ref> take_top(std::size_t count) {
    require(count);
    std::vector<Ref> taken(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return taken;
  }
  std::vector<Ref> take_marked() {
    if (marks_.empty()) in_.fail("there is no MARK");
    const std::size_t count = stack_.size() - marks_.back();
    std::vector<Ref> taken = take_top(count);
    marks_.pop_back();
    return taken;
  }

  // Numbers and text.

  void push_integer(std::int64_t value) {
    if (value >= 0 && value < kSmallIntegers) {
      push(kFirstSmallInteger + static_cast<Ref>(value));
    } else {
      push(add({.kind = Kind::kInteger, .data = value}));
    }
  }
  std::int64_t parse_integer(std::string_view text) const {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      in_.fail(str_cat(printable(text), " is no integer of 64 bits"));
    }
    return value;
  }
  void push_int_text() {
    const std::string_view text = in_.line();
    if (text == "00") return push(kFalseRef);
    if (text == "01") return push(kTrueRef);
    push_integer(parse_integer(text));
  }
  void push_long_text() {
    std::string_view text = in_.line();
    if (text.ends_with('L')) text.remove_suffix(1);
    push_integer(parse_integer(text));
  }
  void push_long(std::uint64_t bytes) {
    const std::string_view digits = in_.text(bytes);
    if (bytes > sizeof(std::int64_t)) {
      return push(add({.kind = Kind::kBigInteger, .data = digits}));
    }
    const bool negative = bytes > 0 && (static_cast<std::uint8_t>(digits.back()) & 0x80U) != 0;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = digits.size(); i-- > 0;) {
      value = (value << 8U) | static_cast<std::uint8_t>(digits[i]);
    }
    push_integer(static_cast<std::int64_t>(value));
  }
  void push_float_text() {
    const std::string text(in_.line());
    char* end = nullptr;
    const double value = text.size() <= kMaxNumberText ? std::strtod(text.c_str(), &end) : 0;
    if (end == nullptr || text.empty() || *end != '\0') {
      in_.fail(str_cat(printable(text), " is no number"));
    }
    push(add({.kind = Kind::kFloat, .data = value}));
  }
  void push_binfloat() {  // the one number that is big-endian
    const std::byte* bytes = in_.take(sizeof(double));
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < sizeof(bits); ++i) {
      bits = (bits << 8U) | std::to_integer<std::uint64_t>(bytes[i]);
    }
    push(add({.kind = Kind::kFloat, .data = std::bit_cast<double>(bits)}));
  }
  void push_text(std::uint64_t bytes) { push(add({.kind = Kind::kText, .data = in_.text(bytes)})); }

  // Lists and dicts.

  std::vector<Ref>& items_of(Ref ref, Kind kind, std::string_view action) {
    Value& value = values_[ref];
    if (value.kind != kind) {
      in_.fail(str_cat(action, " on ", kind_name(value.kind), " in place of ", kind_name(kind)));
    }
    return std::get<std::vector<Ref>>(value.data);
  }
  void append(const std::vector<Ref>& items) {
    std::vector<Ref>& list = items_of(top(), Kind::kList, "APPEND");
    list.insert(list.end(), items.begin(), items.end());
  }
  std::vector<Ref> pairs(std::vector<Ref> items) const {
    if (items.size() % 2 != 0) in_.fail("a key has no value");
    return items;
  }
  void set_items(const std::vector<Ref>& items) {
    std::vector<Ref>& dict = items_of(top(), Kind::kDict, "SETITEM");
    dict.insert(dict.end(), items.begin(), items.end());
  }

  // The memo. Files number it from 0 on; any other order costs a table.

  std::uint32_t memo_index(std::string_view text) const {
    const std::int64_t index = parse_integer(text);
    if (index < 0 || index > std::numeric_limits<std::uint32_t>::max())
      in_.fail(str_cat("there is no memo ", index));
    return static_cast<std::uint32_t>(index);
  }
  std::size_t memo_count() const { return memo_.size() + far_memo_.size(); }
  void put(std::uint32_t index) {
    const Ref ref = top();
    if (index < memo_.size()) {
      memo_[index] = ref;
    } else if (memo_count() >= kMaxValues) {
      in_.fail(str_cat("more than ", kMaxValues, " memos"));
    } else if (index == memo_.size() && !far_memo_.contains(index)) {
      memo_.push_back(ref);
    } else {
      far_memo_.insert_or_assign(index, ref);
    }
  }
  void get(std::uint32_t index) {
    if (index < memo_.size()) return push(memo_[index]);
    const auto found = far_memo_.find(index);
    if (found == far_memo_.end()) in_.fail(str_cat("memo ", index, " was never set"));
    push(found->second);
  }

  // Names, storages, tensors.

  void push_global(std::string_view module, std::string_view name) {
    const auto global = find_global(module, name);
    if (!global) in_.refuse(str_cat("the global ", printable(module), ".", printable(name)));
    push(add({.kind = Kind::kGlobal, .global = *global, .data = {}}));
  }
  void push_global_lines() {
    const std::string_view module = in_.line();
    push_global(module, in_.line());
  }
  void push_stack_global() {
    const std::vector<Ref> names = take_top(2);
    for (const Ref name : names) {
      if (values_[name].kind != Kind::kText) in_.fail("a global's name must be a string");
    }
    push_global(values_[names[0]].text(), values_[names[1]].text());
  }
  std::span<const Ref> tuple_items(Ref ref, std::string_view what) {
    return items_of(ref, Kind::kTuple, what);
  }
  void push_storage() {
    const std::span<const Ref> items = tuple_items(pop(), "BINPERSID");
    const Ref storage =
        add({.kind = Kind::kStorage, .data = std::vector<Ref>(items.begin(), items.end())});
    storages_.push_back(storage);
    push(storage);
  }

  void reduce() {
    const Ref arguments = pop();
    const Ref callable = pop();
    if (values_[callable].kind != Kind::kGlobal) {
      in_.fail(str_cat("REDUCE calls ", kind_name(values_[callable].kind)));
    }
    const std::span<const Ref> items = tuple_items(arguments, "REDUCE");
    const Global global = values_[callable].global;
    switch (global.kind) {
      case GlobalKind::kOrderedDict: return push_ordered_dict(items);
      case GlobalKind::kSize: return push_size(items);
      case GlobalKind::kRebuildTensor: return push_tensor(global, items, 4, 4);
      case GlobalKind::kRebuildTensorV2: return push_tensor(global, items, 6, 7);
      case GlobalKind::kRebuildTensorV3: return push_tensor(global, items, 7, 8);
      case GlobalKind::kRebuildParameter: return push_parameter(items);
      case GlobalKind::kStorage:
      case GlobalKind::kUntypedStorage:
      case GlobalKind::kDType: break;
    }
    in_.refuse("a call of a torch type");
  }
  /// OrderedDict(), and OrderedDict([[key, value], ...]), as Python 2 wrote it.
  void push_ordered_dict(std::span<const Ref> arguments) {
    if (arguments.empty()) return push_new(Kind::kDict, {});
    if (arguments.size() > 1) in_.fail("OrderedDict takes one list");
    std::vector<Ref> dict;
    const std::vector<Ref>& list = items_of(arguments[0], Kind::kList, "OrderedDict");
    copied_ += list.size();
    if (copied_ > kMaxCopiedItems) in_.fail(str_cat("more than ", kMaxCopiedItems, " pairs"));
    for (const Ref entry : list) {
      const Value& pair = values_[entry];
      const bool is_pair =
          (pair.kind == Kind::kList || pair.kind == Kind::kTuple) && pair.items().size() == 2;
      if (!is_pair) in_.fail("OrderedDict takes a list of pairs");
      dict.insert(dict.end(), pair.items().begin(), pair.items().end());
    }
    push_new(Kind::kDict, std::move(dict));
  }
  void push_size(std::span<const Ref> arguments) {
    if (arguments.size() != 1) in_.fail("torch.Size takes one tuple");
    tuple_items(arguments[0], "torch.Size");
    push(arguments[0]);
  }
  void push_tensor(const Global& global, std::span<const Ref> arguments, std::size_t least,
                   std::size_t most) {
    if (arguments.size() < least || arguments.size() > most) {
      in_.fail(
          str_cat("a tensor is made of ", least, " to ", most, " values, not ", arguments.size()));
    }
    push(add({.kind = Kind::kTensor,
              .global = global,
              .data = std::vector<Ref>(arguments.begin(), arguments.end())}));
  }
  void push_parameter(std::span<const Ref> arguments) {
    if (arguments.empty() || values_[arguments[0]].kind != Kind::kTensor) {
      in_.fail("a parameter is made of a tensor");
    }
    push(arguments[0]);
  }
  /// An OrderedDict may have attributes, such as the _metadata of a state_dict, which nobody reads.
  void build() {
    pop();
    const Kind kind = values_[top()].kind;
    if (kind != Kind::kDict) in_.refuse(str_cat("attributes (BUILD) of ", kind_name(kind)));
  }

  Cursor& in_;
  std::vector<Value> values_;
  std::vector<Ref> stack_;
  std::vector<std::size_t> marks_;  // how long the stack was
  std::vector<Ref> memo_;
  std::unordered_map<std::uint32_t, Ref> far_memo_;
  std::vector<Ref> storages_;
  std::size_t copied_ = 0;
};

}  // namespace

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNone: return "None";
    case Kind::kBool: return "a bool";
    case Kind::kInteger: return "an int";
    case Kind::kBigInteger: return "an int of more than 64 bits";
    case Kind::kFloat: return "a float";
    case Kind::kText: return "a string";
    case Kind::kList: return "a list";
    case Kind::kTuple: return "a tuple";
    case Kind::kDict: return "a dict";
    case Kind::kGlobal: return "a name";
    case Kind::kStorage: return "a storage";
    case Kind::kTensor: return "a tensor";
  }
  return "an unknown value";
}

Pickle read_pickle(const ByteSource& source, std::uint64_t begin, std::uint64_t end,
                   const std::string& what) {
  Cursor cursor(source, begin, end, what);
  return Machine(cursor).run();
}

}  // namespace shoehorn::pickle
