// Any text as the index of an offload folder: refused with an Error, or every file lies in the
// folder and every size can be counted.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "shoehorn/error.h"

#include "checkpoint/offload_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    for (const auto& entry : shoehorn::parse_offload_index(text, "index.json")) {
      const auto path = (std::filesystem::path("/folder") / entry.name).lexically_normal();
      if (path.parent_path() != "/folder") std::abort();
      if (!shoehorn::packed_bytes(entry.dtype, entry.shape.elements())) std::abort();
    }
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
