// The file of one weight in the weight cache: a header of a page, which says all that the bytes
// depend on and their checksum, then the bytes as they are in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "checkpoint/checkpoint.h"
#include "weights/weight_group.h"

namespace shoehorn {

inline constexpr std::size_t kCacheHeaderBytes = 4096;
inline constexpr std::string_view kCacheFormat = "shoehorn weight cache";
inline constexpr std::string_view kCacheVersion = "shoehorn weight cache 3";
inline constexpr std::string_view kCacheExtension = ".weight";

/// All that the bytes depend on, as text: version, the stored tensor, the form they are brought to.
std::string cache_key(const Checkpoint& checkpoint, const WeightSpec& weight);

/// What a weight's file is called: the key itself is compared, names only have to differ.
std::string cache_file_name(const std::string& key);

/// kCacheHeaderBytes of it. Throws ArgumentError where the key is too long for that.
std::string cache_header(const std::string& key, std::uint64_t checksum);

struct CacheHeader {
  std::string key;
  std::uint64_t checksum = 0;
};

/// Nothing for what cache_header() does not write.
std::optional<CacheHeader> parse_cache_header(std::string_view header);

/// What a key tells people: the checkpoint's file, the tensor, the form. Empty where it does not.
struct CacheKeyText {
  std::string source;
  std::string tensor;
  std::string form;
};
CacheKeyText cache_key_text(std::string_view key);

}  // namespace shoehorn
