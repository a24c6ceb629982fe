// What is thrown where the caller asked to stop.
#pragma once

#include "shoehorn/error.h"

namespace shoehorn {

/// The caller asked to stop what was running; nothing has changed.
class CancelledError : public Error {
 public:
  using Error::Error;
};

}  // namespace shoehorn
