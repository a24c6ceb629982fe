// Making values, and what Python's truth, length and iteration mean for each kind.
#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>

#include "base/str_cat.h"
#include "text/jinja_renderer.h"
#include "text/utf8.h"

namespace shoehorn::jinja {
namespace {

using Kind = Value::Kind;

// Mappings up to this size are searched from front to back.
constexpr std::size_t kSmallDict = 8;
constexpr std::size_t kIndexEntryBytes = 48;
constexpr std::size_t kNoPosition = static_cast<std::size_t>(-1);

void check_depth(std::uint32_t depth) {
  if (depth > Limits::kDepth) {
    fail(ErrorKind::kLimit,
         str_cat("lists or mappings nested more than ", Limits::kDepth, " deep"));
  }
}

std::uint32_t depth_of(const Value& value) {
  return value.is_sequence() || value.is(Kind::kDict) ? value.object()->depth() : 0;
}

}  // namespace

const std::string& Value::text() const {
  return as<Text>().text;
}
const std::vector<Value>& Value::items() const {
  return as<Sequence>().items;
}
const Dict& Value::dict() const {
  return as<Dict>();
}

Sequence::Sequence(Budget& budget, std::vector<Value> values)
    : Object(budget, values.capacity() * sizeof(Value)), items(std::move(values)) {
  for (const Value& item : items) depth_ = std::max(depth_, depth_of(item) + 1);
  check_depth(depth_);
}

Range::Range(Budget& budget, std::int64_t start, std::int64_t stop, std::int64_t step)
    : Object(budget), start(start), stop(stop), step(step) {
  if (step == 0) fail_runtime("ValueError: range() arg 3 must not be zero");
  const Integer span = step > 0 ? Integer{stop} - start : Integer{start} - stop;
  const Integer stride = step > 0 ? Integer{step} : -Integer{step};
  const Integer count = span <= 0 ? 0 : (span + stride - 1) / stride;
  if (count > Limits::kRange) {
    fail_runtime(
        str_cat("OverflowError: Range too big. The sandbox blocks ranges larger than "
                "MAX_RANGE (",
                Limits::kRange, ")."));
  }
  length = static_cast<std::int64_t>(count);
}

std::size_t Dict::position(const Value& key, std::size_t key_hash) const {
  if (entries.size() <= kSmallDict) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (equal(budget, entries[i].first, key)) return i;
    }
    return kNoPosition;
  }
  const auto [begin, end] = index_.equal_range(key_hash);
  for (auto found = begin; found != end; ++found) {
    if (equal(budget, entries[found->second].first, key)) return found->second;
  }
  return kNoPosition;
}

const Value* Dict::find(const Value& key) const {
  const std::size_t at = position(key, hash(budget, key));
  return at == kNoPosition ? nullptr : &entries[at].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto matches = [key](const Entry& entry) {
    return entry.first.is_string() && entry.first.text() == key;
  };
  budget.spend_bytes(key.size());
  if (entries.size() <= kSmallDict) {
    const auto found = std::ranges::find_if(entries, matches);
    return found == entries.end() ? nullptr : &found->second;
  }
  const auto [begin, end] = index_.equal_range(std::hash<std::string_view>{}(key));
  for (auto found = begin; found != end; ++found) {
    budget.spend(1);
    if (matches(entries[found->second])) return &entries[found->second].second;
  }
  return nullptr;
}

void Dict::set(Value key, Value value) {
  const std::size_t key_hash = hash(budget, key);
  depth_ = std::max(depth_, std::max(depth_of(key), depth_of(value)) + 1);
  check_depth(depth_);
  if (const std::size_t at = position(key, key_hash); at != kNoPosition) {
    entries[at].second = std::move(value);
    return;
  }
  if (entries.size() == entries.capacity()) {
    charge(std::max<std::size_t>(entries.capacity(), 4) * sizeof(Entry));
    entries.reserve(std::max<std::size_t>(entries.capacity() * 2, 4));
  }
  entries.emplace_back(std::move(key), std::move(value));
  if (entries.size() <= kSmallDict) return;
  if (index_.empty()) {
    for (std::size_t i = 0; i + 1 < entries.size(); ++i) {
      index_.emplace(hash(budget, entries[i].first), static_cast<std::uint32_t>(i));
    }
  }
  charge(kIndexEntryBytes);
  index_.emplace(key_hash, static_cast<std::uint32_t>(entries.size() - 1));
}

std::vector<Value> Generator::take() {
  if (make) items = std::exchange(make, nullptr)();
  std::vector<Value> rest(items.begin() + static_cast<std::ptrdiff_t>(position), items.end());
  items.clear();
  position = 0;
  return rest;
}

bool Generator::next(Value& value) {
  if (make) items = std::exchange(make, nullptr)();
  if (position == items.size()) return false;
  value = items[position++];
  return true;
}

bool Callable::attribute(Renderer& /*renderer*/, std::string_view /*name*/,
                         Value& /*value*/) const {
  return false;
}

Value make_text(Budget& budget, std::string text) {
  return Value(Kind::kString, make<Text>(budget, std::move(text)).get());
}

Value make_list(Budget& budget, std::vector<Value> items) {
  return Value(Kind::kList, make<Sequence>(budget, std::move(items)).get());
}

Value make_tuple(Budget& budget, std::vector<Value> items) {
  return Value(Kind::kTuple, make<Sequence>(budget, std::move(items)).get());
}

Value make_undefined(Budget& budget, std::string message, ErrorKind kind) {
  return Value(Kind::kUndefined, make<Undefined>(budget, std::move(message), kind).get());
}

void fail_undefined(const Value& value) {
  const auto& undefined = value.as<Undefined>();
  fail(undefined.kind, undefined.message);
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone: return "NoneType";
    case Kind::kBool: return "bool";
    case Kind::kInteger: return "int";
    case Kind::kFloat: return "float";
    case Kind::kUndefined: return "Undefined";
    case Kind::kString: return "str";
    case Kind::kList: return "list";
    case Kind::kTuple: return "tuple";
    case Kind::kKeys: return "dict_keys";
    case Kind::kValues: return "dict_values";
    case Kind::kItems: return "dict_items";
    case Kind::kDict: return "dict";
    case Kind::kRange: return "range";
    case Kind::kGenerator: return "generator";
    case Kind::kNamespace: return "Namespace";
    case Kind::kLoop: return "LoopContext";
    case Kind::kCallable: return "function";
  }
  return "";
}

bool is_true(const Value& value) {
  switch (value.kind()) {
    case Kind::kNone:
    case Kind::kUndefined: return false;
    case Kind::kBool: return value.as_bool();
    case Kind::kInteger: return value.as_integer() != 0;
    case Kind::kFloat: return value.as_double() != 0;
    case Kind::kString: return !value.text().empty();
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kKeys:
    case Kind::kValues:
    case Kind::kItems: return !value.items().empty();
    case Kind::kDict: return !value.dict().entries.empty();
    case Kind::kRange: return value.as<Range>().length > 0;
    default: return true;
  }
}

std::vector<Value> iterate(Budget& budget, const Value& value) {
  std::vector<Value> result;
  const auto reserve = [&](std::size_t count, std::size_t bytes_each) {
    budget.check_count(count, bytes_each);
    result.reserve(count);
  };
  switch (value.kind()) {
    case Kind::kUndefined: return {};
    case Kind::kString: {
      const std::string& text = value.text();
      reserve(text::count_characters(text), sizeof(Value) + sizeof(Text));
      for (std::size_t i = 0; i < text.size();) {
        const std::size_t size = text::sequence_length(text[i]);
        result.push_back(make_text(budget, text.substr(i, size)));
        i += size;
      }
      return result;
    }
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kKeys:
    case Kind::kValues:
    case Kind::kItems:
      reserve(value.items().size(), sizeof(Value));
      result = value.items();
      return result;
    case Kind::kDict:
      reserve(value.dict().entries.size(), sizeof(Value));
      for (const Dict::Entry& entry : value.dict().entries) result.push_back(entry.first);
      return result;
    case Kind::kRange: {
      const auto& range = value.as<Range>();
      reserve(static_cast<std::size_t>(range.length), sizeof(Value));
      for (std::int64_t i = 0; i < range.length; ++i) {
        result.push_back(Value::integer(range.at(i)));
      }
      return result;
    }
    case Kind::kGenerator: return value.as<Generator>().take();
    case Kind::kLoop: {
      // A loop is its own iterator: what is left of it is gone then.
      for (Value pair; value.as<Loop>().next(value, pair);) result.push_back(std::move(pair));
      return result;
    }
    default: fail_runtime(str_cat("TypeError: '", type_name(value), "' object is not iterable"));
  }
}

std::size_t length(Budget& budget, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined: return 0;
    case Kind::kString:
      budget.spend_bytes(value.text().size());
      return text::count_characters(value.text());
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kKeys:
    case Kind::kValues:
    case Kind::kItems: return value.items().size();
    case Kind::kDict: return value.dict().entries.size();
    case Kind::kRange: return static_cast<std::size_t>(value.as<Range>().length);
    case Kind::kLoop: return value.as<Loop>().length();
    default: break;
  }
  fail_runtime(str_cat("TypeError: object of type '", type_name(value), "' has no len()"));
}

}  // namespace shoehorn::jinja
