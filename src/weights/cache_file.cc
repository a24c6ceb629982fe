#include "weights/cache_file.h"

#include <algorithm>
#include <charconv>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

constexpr std::string_view kChecksum = "checksum ";
constexpr std::size_t kDigits = 16;

std::string hexadecimal(std::uint64_t value) {
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[(value >> shift) & 15];
  return text;
}

constexpr std::uint64_t kHashStart = 0xcbf29ce484222325U;

/// FNV-1a of 64 bits.
std::uint64_t hash_of(std::string_view text, std::uint64_t hash = kHashStart) {
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

/// What identifies a stored tensor.
std::string source_text(const Checkpoint& checkpoint, const TensorInfo& info) {
  std::string text =
      str_cat(checkpoint.identity_of(info), "\ntensor ", info.name, " ", to_string(info.dtype), " ",
              to_string(info.shape), " heads ", info.row_order.interleaved_heads);
  if (info.row_order.qkv_groups != 0) {
    text += str_cat(" groups ", info.row_order.qkv_groups, " of ", info.row_order.qkv_heads);
  }
  for (const std::int64_t stride : info.strides) text += str_cat(" stride ", stride);
  return text;
}

/// The first matrix of a stack in words, all of them as a hash: a header has room for a few lines.
std::string stack_text(const Checkpoint& checkpoint, const TensorStack& stack) {
  std::uint64_t hash = kHashStart;
  for (const TensorInfo& info : stack.plain) hash = hash_of(source_text(checkpoint, info), hash);
  return str_cat(source_text(checkpoint, stack.plain.front()), "\nmatrices ", stack.size(),
                 " hash ", hexadecimal(hash));
}

/// The rest of the line that begins with `name`.
std::string line_of(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    if (text.substr(0, end).starts_with(name)) {
      return std::string(text.substr(name.size(), end - name.size()));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return "";
}

}  // namespace

std::string cache_key(const Checkpoint& checkpoint, const WeightSpec& weight) {
  const std::string source = weight.stack != nullptr ? stack_text(checkpoint, *weight.stack)
                                                     : source_text(checkpoint, *weight.source);
  return str_cat(kCacheVersion, "\n", source, "\nform ", to_string(weight.form.quant_type), " of ",
                 to_string(weight.form.dtype), " blocks ", weight.form.blocksize,
                 weight.form.nested ? " nested" : "", " parity ", static_cast<int>(weight.parity),
                 "\n");
}

std::string cache_file_name(const std::string& key) {
  return hexadecimal(hash_of(key)) + std::string(kCacheExtension);
}

std::string cache_header(const std::string& key, std::uint64_t checksum) {
  std::string header = str_cat(key, kChecksum, hexadecimal(checksum), "\n");
  if (header.size() >= kCacheHeaderBytes) {
    throw ArgumentError(str_cat("the weight cache: the checkpoint's path and tensor name take ",
                                header.size(), " bytes, at most ", kCacheHeaderBytes - 1,
                                " have room: a shorter path helps"));
  }
  header.resize(kCacheHeaderBytes, '\0');
  return header;
}

std::optional<CacheHeader> parse_cache_header(std::string_view header) {
  if (header.size() != kCacheHeaderBytes) return std::nullopt;
  const std::size_t end = std::min(header.find('\0'), header.size());
  if (header.find_first_not_of('\0', end) != std::string_view::npos) return std::nullopt;
  const std::string_view text = header.substr(0, end);
  constexpr std::size_t kLastLine = kChecksum.size() + kDigits + 1;
  if (!text.starts_with(kCacheFormat) || text.size() < kCacheFormat.size() + kLastLine) {
    return std::nullopt;
  }
  std::string_view last = text.substr(text.size() - kLastLine);
  if (!last.starts_with(kChecksum) || !last.ends_with('\n') ||
      text[text.size() - kLastLine - 1] != '\n') {
    return std::nullopt;
  }
  last = last.substr(kChecksum.size(), kDigits);
  CacheHeader result{.key = std::string(text.substr(0, text.size() - kLastLine))};
  const auto [stop, error] =
      std::from_chars(last.data(), last.data() + last.size(), result.checksum, 16);
  if (error != std::errc() || stop != last.data() + last.size()) return std::nullopt;
  if (cache_header(result.key, result.checksum) != header) return std::nullopt;  // capital digits
  return result;
}

CacheKeyText cache_key_text(std::string_view key) {
  CacheKeyText text{.source = line_of(key, "file "),
                    .tensor = line_of(key, "tensor "),
                    .form = line_of(key, "form ")};
  text.tensor.resize(std::min(text.tensor.find(' '), text.tensor.size()));
  const std::size_t second = text.form.find(' ');
  // "none of BF16 blocks ..." is a plain conversion: its type says all.
  if (text.form.starts_with("none of ")) {
    text.form = text.form.substr(8);
    text.form.resize(std::min(text.form.find(' '), text.form.size()));
  } else {
    text.form.resize(std::min(second, text.form.size()));
  }
  return text;
}

}  // namespace shoehorn
