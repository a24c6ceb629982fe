// In place of uring_reader.cc where liburing's headers are not installed.

#include <memory>

#include "base/async_reader.h"

namespace shoehorn {

std::unique_ptr<AsyncReader> make_uring_reader(int /*reads_in_flight*/) {
  return nullptr;
}

}  // namespace shoehorn
