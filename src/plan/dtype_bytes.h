// Bytes an element takes as accelerate's planner counts them (its dtype_byte_size), which is not
// always what is stored: a bool is an eighth of a byte, torch's sub-byte types are nothing at all.
#pragma once

#include <string>
#include <string_view>

#include "tensor/dtype.h"

namespace shoehorn {

/// A number as Python holds it: an int or a float. The reference planners crash on some floats
/// where the same int is fine, so the difference is carried along.
struct PyNumber {
  double value = 0;
  bool is_float = false;

  friend PyNumber operator+(PyNumber a, PyNumber b) {
    return {a.value + b.value, a.is_float || b.is_float};
  }
  friend PyNumber operator-(PyNumber a, PyNumber b) {
    return {a.value - b.value, a.is_float || b.is_float};
  }
  friend PyNumber operator*(PyNumber a, PyNumber b) {
    return {a.value * b.value, a.is_float || b.is_float};
  }
  PyNumber& operator+=(PyNumber other) { return *this = *this + other; }
};

/// accelerate's bytes per element of a torch dtype name ("float16", "torch.int64") or of one of its
/// planner-only types, written "custom:int4", "custom:int2", "custom:fp8".
/// Throws ArgumentError naming a dtype that torch does not have.
PyNumber accelerate_dtype_bytes(std::string_view name);

/// torch's own element size: a bool and a sub-byte type take one byte. Throws as above.
PyNumber torch_element_size(std::string_view name);

/// Whether accelerate's `dtype` leaves tensors of this type alone: int*, uint*, bool*.
bool keeps_its_dtype(std::string_view name);

/// The name under which the two functions above know a type; for GGUF blocks, which torch does not
/// have, its own name, and they count the stored bytes.
std::string planner_dtype_name(DType dtype);

}  // namespace shoehorn
