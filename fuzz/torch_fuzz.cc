// Any bytes as PyTorch's file: refused with an Error, or every value of every tensor lies inside
// the file.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "shoehorn/error.h"

#include "checkpoint/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    const auto source = shoehorn::source_of("fuzz.bin", file);
    for (const shoehorn::TensorInfo& info : shoehorn::read_torch_file(source).tensors) {
      const auto bytes = shoehorn::packed_bytes(info.dtype, info.shape.elements());
      if (!bytes || *bytes != info.bytes) std::abort();
      if (info.bytes == 0) continue;
      std::uint64_t end = info.offset + info.bytes;
      if (!info.strides.empty()) {
        const std::uint64_t item = shoehorn::dtype_info(info.dtype).block_bytes;
        end = info.offset + item;
        for (std::size_t i = 0; i < info.strides.size(); ++i) {
          const auto steps = static_cast<std::uint64_t>(info.shape[static_cast<int>(i)] - 1);
          end += steps * static_cast<std::uint64_t>(info.strides[i]) * item;
        }
      }
      if (end > size) std::abort();
    }
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
