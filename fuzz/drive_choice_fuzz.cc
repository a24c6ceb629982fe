// The file that remembers how drives are read: no text may make a choice that a reader cannot take.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/drive_choice.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const shoehorn::DriveChoice& choice : shoehorn::parse_drive_choices(text)) {
    if (choice.io.read_bytes == 0 || choice.io.read_bytes % shoehorn::kIoAlignment != 0) {
      std::abort();
    }
    if (choice.io.reads_in_flight < 1 || !(choice.bytes_per_s > 0)) std::abort();
  }
  return 0;
}
