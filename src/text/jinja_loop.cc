// `loop`: what a for statement knows about itself.
#include <algorithm>
#include <array>
#include <utility>

#include "base/str_cat.h"
#include "text/jinja_renderer.h"

namespace shoehorn::jinja {
namespace {

/// loop.cycle and loop.changed.
class LoopMethod final : public Callable {
 public:
  LoopMethod(Budget& budget, Loop& loop, bool cycles)
      : Callable(budget, sizeof(LoopMethod)), loop_(&loop), cycles_(cycles) {}

  Value call(Renderer& renderer, Arguments arguments) override {
    const std::vector<Value>& values = arguments.positional;
    if (!arguments.named.empty()) fail_runtime("TypeError: unexpected keyword argument");
    if (cycles_) {
      if (values.empty()) fail_runtime("TypeError: no items for cycling given");
      return values[loop_->index0 % values.size()];
    }
    Budget& budget = renderer.budget();
    const bool same =
        loop_->was_changed && values.size() == loop_->last_changed.size() &&
        std::equal(values.begin(), values.end(), loop_->last_changed.begin(),
                   [&](const Value& a, const Value& b) { return equal(budget, a, b); });
    loop_->was_changed = true;
    loop_->last_changed = values;
    return Value::boolean(!same);
  }
  std::string print() const override { return "<bound method of LoopContext>"; }

 private:
  Ref<Loop> loop_;
  bool cycles_;
};

}  // namespace

Loop::Loop(Budget& budget, Renderer& renderer, const Statement& statement, Ref<Frame> outer,
           std::vector<Value> items, std::size_t depth)
    : Object(budget, sizeof(Loop) + items.capacity() * sizeof(Value)),
      renderer(renderer),
      statement(statement),
      outer(std::move(outer)),
      source(std::move(items)),
      depth0(depth) {}

// Moves the next item that passes the condition to `ready`.
bool Loop::fetch() {
  while (position < source.size()) {
    Value item = std::move(source[position++]);
    renderer.budget().spend(1);
    if (!renderer.passes(statement, outer, item)) continue;
    ready.push_back(std::move(item));
    return true;
  }
  return false;
}

bool Loop::has_next() {
  return !ready.empty() || fetch();
}

bool Loop::advance() {
  if (!has_next()) return false;
  has_previous = index0 != static_cast<std::size_t>(-1);
  previous = std::move(current);
  current = std::move(ready.front());
  ready.pop_front();
  ++index0;
  return true;
}

bool Loop::next(const Value& self, Value& pair) {
  constexpr std::uint64_t kPairSteps = 4;
  renderer.budget().spend(kPairSteps);
  if (!advance()) return false;
  pair = make_tuple(renderer.budget(), {current, self});
  return true;
}

std::size_t Loop::length() {
  while (fetch()) {
  }
  return index0 + 1 + ready.size();
}

Value Loop::attribute(std::string_view name) {
  const auto number = [](std::size_t n) { return Value::integer(static_cast<Integer>(n)); };
  Budget& budget = renderer.budget();
  if (name == "index") return number(index0 + 1);
  if (name == "index0") return number(index0);
  if (name == "first") return Value::boolean(index0 == 0);
  if (name == "last") return Value::boolean(!has_next());
  if (name == "length") return number(length());
  if (name == "revindex") return number(length() - index0);
  if (name == "revindex0") return number(length() - index0 - 1);
  if (name == "depth") return number(depth0 + 1);
  if (name == "depth0") return number(depth0);
  if (name == "previtem") {
    return has_previous ? previous : make_undefined(budget, "there is no previous item");
  }
  if (name == "nextitem") {
    return has_next() ? ready.front() : make_undefined(budget, "there is no next item");
  }
  if (name == "cycle" || name == "changed") {
    return Value(Value::Kind::kCallable, make<LoopMethod>(budget, *this, name == "cycle").get());
  }
  return make_undefined(budget, str_cat("'LoopContext object' has no attribute '", name, "'"));
}

}  // namespace shoehorn::jinja
