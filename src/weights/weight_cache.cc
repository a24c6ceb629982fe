#include "weights/weight_cache.h"

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <system_error>

#include "shoehorn/error.h"

#include "base/host_buffer.h"
#include "base/str_cat.h"
#include "base/written_file.h"
#include "weights/weight_loader.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kHeaderBytes = 4096;
constexpr std::string_view kVersion = "shoehorn weight cache 2";

/// Quantized on the way in, or a view with strides, whose values lie scattered in the checkpoint.
bool is_worth_a_file(const WeightSpec& weight) {
  return weight.is_quantized_on_load() ||
         (weight.source != nullptr && !weight.source->strides.empty());
}

/// All that the bytes depend on, as text: it opens the file and is compared when it is used again.
std::string key_of(const Checkpoint& checkpoint, const WeightSpec& weight) {
  const TensorInfo& info = *weight.source;
  return str_cat(kVersion, "\n", checkpoint.identity_of(info), "\ntensor ", info.name, " ",
                 to_string(info.dtype), " ", to_string(info.shape), " heads ",
                 info.row_order.interleaved_heads, "\nform ", to_string(weight.form.quant_type),
                 " of ", to_string(weight.form.dtype), " blocks ", weight.form.blocksize,
                 weight.form.nested ? " nested" : "", " parity ", static_cast<int>(weight.parity),
                 weight.view != nullptr ? " transposed" : "", "\n");
}

/// FNV-1a of 64 bits: file names only; the key itself is compared.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

std::string hexadecimal(std::uint64_t value) {
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[(value >> shift) & 15];
  return text;
}

std::optional<CachedWeight> find_file(const fs::path& path, const std::string& key,
                                      std::size_t bytes) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  File file(path);
  if (file.size() != kHeaderBytes + bytes) return std::nullopt;
  std::string header(kHeaderBytes, '\0');
  file.read_at(0, std::as_writable_bytes(std::span(header)));
  if (header.substr(0, key.size()) != key || header[key.size()] != '\0') return std::nullopt;
  return CachedWeight{std::move(file), kHeaderBytes};
}

void write_file(const Checkpoint& checkpoint, const WeightSpec& weight, const fs::path& path,
                const std::string& key, ThreadPool& pool, Isa isa) {
  HostBuffer buffer(form_bytes(weight));
  WeightLoader loader(checkpoint, weight, buffer.bytes(), isa);
  std::vector<LoadScratch> scratch(static_cast<std::size_t>(pool.threads()));
  pool.parallel_for(loader.pieces(), [&](std::int64_t piece, int thread) {
    loader.load(piece, scratch[static_cast<std::size_t>(thread)]);
  });
  std::string header = key;
  header.resize(kHeaderBytes, '\0');
  WrittenFile file(path);
  file.write(std::as_bytes(std::span(header)));
  file.write(buffer.bytes());
  file.commit();
}

}  // namespace

std::filesystem::path default_weight_cache() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0') {
    return fs::path(cache) / "shoehorn" / "weights";
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return fs::path(home) / ".cache" / "shoehorn" / "weights";
  }
  return fs::temp_directory_path() / "shoehorn-weights";
}

void fill_weight_cache(
    const Checkpoint& checkpoint, std::vector<WeightGroup>& groups,
    const std::filesystem::path& folder, ThreadPool& pool, Isa isa,
    const std::function<void(std::size_t done, std::size_t total)>& on_progress) {
  std::vector<WeightSpec*> wanted;
  std::size_t total = 0;
  for (WeightGroup& group : groups) {
    for (WeightSpec& weight : group.weights) {
      if (!is_streamed(weight) || !is_worth_a_file(weight)) continue;
      wanted.push_back(&weight);
      total += form_bytes(weight);
    }
  }
  if (wanted.empty()) return;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw FileError(folder, "the weight cache cannot be made: " + error.message());
  std::size_t done = 0;
  for (WeightSpec* weight : wanted) {
    const std::string key = key_of(checkpoint, *weight);
    if (key.size() >= kHeaderBytes) {
      throw FileError(folder, str_cat("the path of ", weight->path, " is too long for the cache"));
    }
    const fs::path path = folder / (hexadecimal(hash_of(key)) + ".weight");
    auto found = find_file(path, key, form_bytes(*weight));
    if (!found) {
      write_file(checkpoint, *weight, path, key, pool, isa);
      found = find_file(path, key, form_bytes(*weight));
      if (!found) throw FileError(path, "changed while it was being used");
    }
    weight->cached = std::make_shared<const CachedWeight>(std::move(*found));
    done += form_bytes(*weight);
    if (on_progress) on_progress(done, total);
  }
}

}  // namespace shoehorn
