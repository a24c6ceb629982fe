// Any bytes as the header of a weight cache's file: one that is written the same again, or none.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "weights/cache_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string header(reinterpret_cast<const char*>(data), size);
  header.resize(shoehorn::kCacheHeaderBytes, '\0');
  const auto parsed = shoehorn::parse_cache_header(header);
  if (!parsed) return 0;
  if (shoehorn::cache_header(parsed->key, parsed->checksum) != header) std::abort();
  const shoehorn::CacheKeyText text = shoehorn::cache_key_text(parsed->key);
  if (text.source.size() + text.tensor.size() + text.form.size() > parsed->key.size()) std::abort();
  return 0;
}
