// The values of chat templates: Python's, as far as templates can make them. Objects are counted by
// reference and charged to the budget of their rendering; none changes once it is made, but
// namespaces, loops and generators.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja_budget.h"

namespace shoehorn::jinja {

class Renderer;

/// Python's integers are unbounded; 128 bits, checked, hold all that templates compute.
using Integer = __int128;

/// Base of what lives on the heap of a rendering. Not thread-safe.
class Object {
 public:
  explicit Object(Budget& budget, std::size_t bytes = 0) : budget_(&budget) {
    charge(bytes + kOverheadBytes);
  }
  virtual ~Object() { budget_->release(charged_); }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  void charge(std::size_t bytes) {
    budget_->charge(bytes);
    charged_ += bytes;
  }
  void retain() { ++references_; }
  void drop() {
    if (--references_ == 0) delete this;  // NOLINT(cppcoreguidelines-owning-memory)
  }
  std::uint32_t references() const { return references_; }
  /// Levels of lists in it, itself included.
  std::uint32_t depth() const { return depth_; }

 protected:
  std::uint32_t depth_ = 1;

 private:
  static constexpr std::size_t kOverheadBytes = 64;
  Budget* budget_;
  std::size_t charged_ = 0;
  std::uint32_t references_ = 0;
};

/// Shares an object within one rendering.
template <typename T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    if (object_ != nullptr) object_->retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_ != nullptr) object_->drop();
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

template <typename T, typename... Args>
Ref<T> make(Args&&... args) {
  return Ref<T>(new T(std::forward<Args>(args)...));  // NOLINT(cppcoreguidelines-owning-memory)
}

struct Text;
struct Sequence;
struct Dict;

class Value {
 public:
  enum class Kind : std::uint8_t {
    kNone,
    kBool,
    kInteger,
    kFloat,
    kUndefined,  // from here on with an Object
    kString,
    kList,
    kTuple,
    kKeys,    // views of a mapping,
    kValues,  // which hold copies here:
    kItems,   // nothing changes
    kDict,
    kRange,
    kGenerator,
    kNamespace,
    kLoop,
    kCallable,
  };

  Value() = default;
  Value(Kind kind, Object* object) : kind_(kind) {
    payload_.object = object;
    object->retain();
  }
  static Value boolean(bool value) {
    Value result;
    result.kind_ = Kind::kBool;
    result.payload_.boolean = value;
    return result;
  }
  static Value integer(Integer value) {
    Value result;
    result.kind_ = Kind::kInteger;
    result.payload_.integer = value;
    return result;
  }
  static Value number(double value) {
    Value result;
    result.kind_ = Kind::kFloat;
    result.payload_.number = value;
    return result;
  }
  Value(const Value& other) : payload_(other.payload_), kind_(other.kind_) {
    if (has_object()) payload_.object->retain();
  }
  Value(Value&& other) noexcept : payload_(other.payload_), kind_(other.kind_) {
    other.kind_ = Kind::kNone;
  }
  Value& operator=(Value other) noexcept {
    std::swap(payload_, other.payload_);
    std::swap(kind_, other.kind_);
    return *this;
  }
  ~Value() {
    if (has_object()) payload_.object->drop();
  }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_string() const { return kind_ == Kind::kString; }
  /// Bools are integers.
  bool is_integral() const { return kind_ == Kind::kInteger || kind_ == Kind::kBool; }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }
  bool has_object() const { return kind_ >= Kind::kUndefined; }
  /// Lists, tuples and views.
  bool is_sequence() const { return kind_ >= Kind::kList && kind_ <= Kind::kItems; }

  // What it is; the kind must be right.
  bool as_bool() const { return payload_.boolean; }
  Integer as_integer() const {
    return kind_ == Kind::kBool ? Integer{payload_.boolean} : payload_.integer;
  }
  double as_double() const {
    return kind_ == Kind::kFloat ? payload_.number : static_cast<double>(as_integer());
  }
  const std::string& text() const;
  const std::vector<Value>& items() const;
  const Dict& dict() const;
  Object* object() const { return payload_.object; }
  template <typename T>
  T& as() const {
    return static_cast<T&>(*payload_.object);
  }

 private:
  union Payload {
    Integer integer = 0;
    double number;
    bool boolean;
    Object* object;
  };
  Payload payload_;
  Kind kind_ = Kind::kNone;
};

/// What prints as nothing and fails where it is used; the message is told then.
struct Undefined : Object {
  Undefined(Budget& budget, std::string message, ErrorKind kind)
      : Object(budget, message.size()), message(std::move(message)), kind(kind) {}
  std::string message;
  ErrorKind kind;
};

struct Text : Object {
  Text(Budget& budget, std::string text) : Object(budget, text.capacity()), text(std::move(text)) {}
  std::string text;  // valid UTF-8
};

struct Sequence : Object {
  Sequence(Budget& budget, std::vector<Value> items);
  std::vector<Value> items;
  bool is_group = false;  // of groupby: (grouper, list) with these names
};

/// A mapping in the order of insertion. Keys are hashable values.
struct Dict : Object {
  using Entry = std::pair<Value, Value>;
  explicit Dict(Budget& budget) : Object(budget), budget(budget) {}

  /// The value of `key`, or null. Throws a TypeError where the key cannot be hashed.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  /// Adds or replaces. Only while the mapping is being made.
  void set(Value key, Value value);

  Budget& budget;
  std::vector<Entry> entries;

 private:
  std::size_t position(const Value& key, std::size_t hash) const;
  std::unordered_multimap<std::size_t, std::uint32_t> index_;  // where there are many
};

struct Range : Object {
  Range(Budget& budget, std::int64_t start, std::int64_t stop, std::int64_t step);
  std::int64_t at(std::int64_t i) const { return start + i * step; }
  std::int64_t start;
  std::int64_t stop;
  std::int64_t step;
  std::int64_t length;
};

/// What a lazy filter gives: made when it is first asked for, and only once.
struct Generator : Object {
  Generator(Budget& budget, std::function<std::vector<Value>()> make)
      : Object(budget, sizeof(Generator)), make(std::move(make)) {}
  /// All that is left; nothing from then on.
  std::vector<Value> take();
  /// The next one into `value`; false at the end.
  bool next(Value& value);

  std::function<std::vector<Value>()> make;
  std::vector<Value> items;
  std::size_t position = 0;
};

struct Namespace : Object {
  explicit Namespace(Budget& budget) : Object(budget, sizeof(Namespace)), attributes(budget) {}
  Dict attributes;
};

/// What a call was given.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

struct Callable : Object {
  using Object::Object;
  virtual Value call(Renderer& renderer, Arguments arguments) = 0;
  /// An attribute other than what every value has; false where there is none.
  virtual bool attribute(Renderer& renderer, std::string_view name, Value& value) const;
  virtual std::string print() const = 0;
};

// Making values.
Value make_text(Budget& budget, std::string text);
Value make_list(Budget& budget, std::vector<Value> items);
Value make_tuple(Budget& budget, std::vector<Value> items);
Value make_undefined(Budget& budget, std::string message, ErrorKind kind = ErrorKind::kUndefined);

/// Fails with what an undefined value has to say.
[[noreturn]] void fail_undefined(const Value& value);

/// "str", "dict", ...: the name of the Python type.
std::string_view type_name(const Value& value);
bool is_true(const Value& value);

/// The values that iterating gives; generators are used up. Throws a TypeError for what cannot be
/// iterated.
std::vector<Value> iterate(Budget& budget, const Value& value);
/// len(). Throws a TypeError where there is none.
std::size_t length(Budget& budget, const Value& value);

/// a == b. Never fails but for the budget.
bool equal(Budget& budget, const Value& a, const Value& b);
/// a < b. Throws a TypeError naming `operation` where the two have no order.
bool less(Budget& budget, const Value& a, const Value& b, std::string_view operation = "<");
/// value in container.
bool contains(Budget& budget, const Value& container, const Value& value);
/// The same for equal values. Throws a TypeError where Python cannot hash.
std::size_t hash(Budget& budget, const Value& value);

}  // namespace shoehorn::jinja
