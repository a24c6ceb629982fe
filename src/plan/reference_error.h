// What a reference planner throws where the original dies of a bug of its own.
#pragma once

#include <string>
#include <utility>

#include "shoehorn/error.h"

namespace shoehorn {

/// The library that is being reproduced crashes on this input. The default planner does not.
class ReferenceCrash : public PlanError {
 public:
  /// `python_type` is the exception of the original, such as "IndexError".
  ReferenceCrash(std::string python_type, const std::string& what)
      : PlanError(what + " (" + python_type +
                  " in the library this planner reproduces; the planner \"shoehorn\" plans it)"),
        python_type_(std::move(python_type)) {}

  const std::string& python_type() const { return python_type_; }

 private:
  std::string python_type_;
};

}  // namespace shoehorn
