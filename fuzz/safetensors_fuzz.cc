// Any bytes as a safetensors file: refused with an Error, or every range lies inside the file.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "shoehorn/error.h"

#include "checkpoint/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    std::uint64_t covered = 0;
    for (const shoehorn::TensorInfo& info :
         shoehorn::parse_safetensors(file, "fuzz.safetensors").tensors) {
      const auto bytes = shoehorn::packed_bytes(info.dtype, info.shape.elements());
      if (!bytes || *bytes != info.bytes || info.offset > size || info.bytes > size - info.offset) {
        std::abort();
      }
      covered += info.bytes;
    }
    if (covered > size - 8) std::abort();  // they would overlap
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
