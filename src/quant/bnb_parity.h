// Which bitsandbytes to agree with: its CPU and CUDA backends give different codes for the same
// values, and each rule here is tested by itself.
#pragma once

#include <cstdint>

namespace shoehorn {

/// `--bnb-parity`.
enum class BnbParity : std::uint8_t {
  kNone,  // the better-behaved rule: the nearest value of the code book, means in double precision
  kCpu,   // bit for bit what bitsandbytes 0.50 with torch on one thread of a CPU writes
  kCuda,  // what its CUDA kernels are documented to do, approximate divisions aside
};

}  // namespace shoehorn
