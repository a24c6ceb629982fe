#include "weights/weight_cache.h"

#include <cstdlib>
#include <memory>
#include <set>
#include <span>
#include <system_error>
#include <utility>

#include "shoehorn/error.h"

#include "base/checksum.h"
#include "base/host_buffer.h"
#include "base/str_cat.h"
#include "base/written_file.h"
#include "weights/cache_file.h"
#include "weights/cache_folder.h"
#include "weights/weight_loader.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<const CachedWeight> find_file(const fs::path& path, const std::string& key,
                                              std::size_t bytes) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return nullptr;
  try {
    File file(path);
    if (file.size() != kCacheHeaderBytes + bytes) return nullptr;
    std::string text(kCacheHeaderBytes, '\0');
    file.read_at(0, std::as_writable_bytes(std::span(text)));
    const auto header = parse_cache_header(text);
    if (!header || header->key != key) return nullptr;
    return std::make_shared<const CachedWeight>(std::move(file), kCacheHeaderBytes,
                                                header->checksum);
  } catch (const FileError&) {
    return nullptr;  // it was cleaned away just now, or cannot be read: it is made anew
  }
}

/// From now on the weight is read from the cache.
void drop_source(const Checkpoint& checkpoint, const WeightSpec& weight) {
  if (weight.source != nullptr) checkpoint.drop_pages(*weight.source);
  if (weight.stack == nullptr) return;
  for (const TensorInfo& matrix : weight.stack->plain) checkpoint.drop_pages(matrix);
}

void write_weight(const Checkpoint& checkpoint, const WeightSpec& weight, const std::string& key,
                  WrittenFile& file, ThreadPool& pool, Isa isa) {
  HostBuffer buffer(form_bytes(weight));
  WeightLoader loader(checkpoint, weight, buffer.bytes(), isa);
  std::vector<LoadScratch> scratch(static_cast<std::size_t>(pool.threads()));
  pool.parallel_for(loader.pieces(), [&](std::int64_t piece, int thread) {
    loader.load(piece, scratch[static_cast<std::size_t>(thread)]);
  });
  drop_source(checkpoint, weight);
  const std::string header = cache_header(key, checksum(buffer.bytes()));
  file.write(std::as_bytes(std::span(header)));
  file.write(buffer.bytes());
  file.sync();
  file.commit();
}

/// One weight and the file it belongs in.
struct Wanted {
  WeightSpec* weight;
  std::string key;
  fs::path path;
  std::size_t bytes;
};

std::vector<Wanted> wanted_files(const Checkpoint& checkpoint, std::vector<WeightGroup>& groups,
                                 const fs::path& folder) {
  std::vector<Wanted> wanted;
  for (WeightGroup& group : groups) {
    for (WeightSpec& weight : group.weights) {
      if (!is_streamed(weight) || !is_worth_caching(weight)) continue;
      std::string key = cache_key(checkpoint, weight);
      cache_header(key, 0);  // throws where it is too long
      fs::path path = folder / cache_file_name(key);
      wanted.push_back({&weight, std::move(key), std::move(path), form_bytes(weight)});
    }
  }
  return wanted;
}

/// Weights that stay in host memory are read from the files of earlier runs that streamed them.
void find_resident_weights(const Checkpoint& checkpoint, std::vector<WeightGroup>& groups,
                           const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return;
  for (WeightGroup& group : groups) {
    for (WeightSpec& weight : group.weights) {
      const bool in_host_memory =
          weight.device.kind == DeviceKind::kCpu || weight.device.kind == DeviceKind::kVirtual;
      if (!in_host_memory || weight.tied_to >= 0 || !is_worth_caching(weight)) continue;
      const std::string key = cache_key(checkpoint, weight);
      weight.cached = find_file(folder / cache_file_name(key), key, form_bytes(weight));
    }
  }
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

bool is_worth_caching(const WeightSpec& weight) {
  // Experts stored [in, out]: their rows lie scattered in the file.
  if (weight.stack != nullptr && !weight.stack->plain.empty()) {
    return weight.is_quantized_on_load() || !weight.stack->plain.front().strides.empty();
  }
  if (weight.source == nullptr) return false;
  return weight.is_quantized_on_load() || !weight.source->strides.empty() ||
         (weight.shape.rank() >= 2 && form_bytes(weight) < weight.source->bytes);
}

void fill_weight_cache(const Checkpoint& checkpoint, std::vector<WeightGroup>& groups,
                       const WeightCacheOptions& options, ThreadPool& pool, Isa isa) {
  const fs::path& folder = options.folder;
  std::vector<Wanted> wanted = wanted_files(checkpoint, groups, folder);
  if (wanted.empty()) return find_resident_weights(checkpoint, groups, folder);
  std::size_t total = 0;
  std::uint64_t file_bytes = 0;
  std::set<fs::path> keep;
  for (const Wanted& one : wanted) {
    total += one.bytes;
    file_bytes += kCacheHeaderBytes + one.bytes;
    keep.insert(one.path);
  }
  if (options.limit_bytes > 0 && file_bytes > options.limit_bytes) {
    throw PlanError(
        str_cat("the weights that are converted here and streamed take ", file_bytes,
                " bytes of the weight cache, --offload-cache-limit allows ", options.limit_bytes,
                ": raise it, or convert the checkpoint once with quantize or convert"),
        file_bytes, options.limit_bytes);
  }
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    throw FileError(folder, str_cat("the weight cache cannot be made: ", error.message(),
                                    "; name another with --offload-folder"));
  }
  remove_leftovers(folder);
  std::size_t done = 0;
  for (const Wanted& one : wanted) {
    auto found = find_file(one.path, one.key, one.bytes);
    if (!found) {
      const auto file =
          open_with_room(one.path, kCacheHeaderBytes + one.bytes, options.limit_bytes, keep);
      write_weight(checkpoint, *one.weight, one.key, *file, pool, isa);
      found = find_file(one.path, one.key, one.bytes);
      if (!found) throw FileError(one.path, "changed while it was being used");
    }
    one.weight->cached = std::move(found);
    done += one.bytes;
    if (options.on_progress) options.on_progress(done, total);
  }
  // Last: a file that is used cannot make room for one that is written.
  find_resident_weights(checkpoint, groups, folder);
}

}  // namespace shoehorn
