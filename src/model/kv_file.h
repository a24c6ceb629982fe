// Keys and values of a sequence as a file, so that a later run need not compute them again.
//
//   "shoehorn KV 1\n"                                   14 bytes
//   u64 n, then n bytes                                 what the values depend on
//   u64 n, then n i32                                   the ids of the positions
//   i64                                                 what dynamic RoPE remembers
//   a layer: keys [kv_heads, n, row], values likewise   as the cache holds them
//   64 bytes                                            SHA-256 of all before it, in hexadecimal
//
// Numbers are little-endian.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "model/kv_cache.h"
#include "model/runtime.h"

namespace shoehorn {

/// Writes what `kv` holds: the keys and values of `ids`, kv.length() of them. `key` is text of all
/// that they depend on. The file appears when it is complete. Throws FileError.
void write_kv_file(const std::filesystem::path& path, std::string_view key,
                   std::span<const std::int32_t> ids, KvCache& kv, Runtime& runtime);

/// Fills `kv` with what such a file holds, as much as it has room for, and returns the ids of its
/// positions. Where it throws, `kv` is empty. Throws FileError, FormatError for a file that is none
/// or is damaged, UnsupportedError where it was written with another `key`.
std::vector<std::int32_t> read_kv_file(const std::filesystem::path& path, std::string_view key,
                                       std::int64_t vocab_size, KvCache& kv, Runtime& runtime);

}  // namespace shoehorn
