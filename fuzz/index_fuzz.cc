// Any text as an index: refused with an Error, or every shard's name stays inside the folder.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "shoehorn/error.h"

#include "checkpoint/shard_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const auto index = shoehorn::parse_shard_index(text, "fuzz.index.json");
    for (const std::string& shard : index.shards) {
      const std::filesystem::path path =
          (std::filesystem::path("/folder") / shard).lexically_normal();
      if (!path.string().starts_with("/folder/")) std::abort();
    }
    for (const auto& [tensor, shard] : index.weight_map) {
      if (shard >= index.shards.size()) std::abort();
    }
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
