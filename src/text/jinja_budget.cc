#include "text/jinja_budget.h"

#include <utility>

#include "base/str_cat.h"

namespace shoehorn::jinja {

void fail(ErrorKind kind, std::string message) {
  throw Failure{kind, std::move(message)};
}

void fail_runtime(std::string message) {
  fail(ErrorKind::kRuntime, std::move(message));
}

void Budget::fail_fuel() {
  fail(ErrorKind::kLimit,
       str_cat("the template took more than ", Limits::kFuel, " steps; it may never end"));
}

void Budget::fail_text() const {
  fail(ErrorKind::kLimit,
       str_cat("the template makes a text of more than ", text_limit_, " bytes"));
}

void Budget::fail_memory() const {
  fail(ErrorKind::kLimit, str_cat("the template holds more than ", live_limit_, " bytes"));
}

}  // namespace shoehorn::jinja
