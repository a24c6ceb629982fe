#include "shoehorn/cache.h"

#include <chrono>
#include <utility>

#include "weights/cache_folder.h"
#include "weights/weight_cache.h"

namespace shoehorn {
namespace {

constexpr double kNanosecondsPerDay = 86400e9;
constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

}  // namespace

std::filesystem::path weight_cache_folder(const std::filesystem::path& offload_folder) {
  return offload_folder.empty() ? default_weight_cache() : offload_folder;
}

std::vector<CachedFile> list_weight_cache(const std::filesystem::path& folder) {
  std::vector<CachedFile> files;
  for (CacheFolderFile& file : list_cache_folder(folder)) {
    files.push_back({.path = std::move(file.path),
                     .bytes = file.bytes,
                     .last_used_s = file.last_used_ns / kNanosecondsPerSecond,
                     .in_use = file.in_use,
                     .is_complete = file.is_complete,
                     .source = std::move(file.text.source),
                     .tensor = std::move(file.text.tensor),
                     .form = std::move(file.text.form)});
  }
  return files;
}

ClearedCache clear_weight_cache(const std::filesystem::path& folder,
                                std::optional<double> older_than_days) {
  std::optional<std::int64_t> before;
  if (older_than_days) {
    const auto now = std::chrono::duration_cast<std::chrono::nanoseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    before = now.count() - static_cast<std::int64_t>(*older_than_days * kNanosecondsPerDay);
  }
  const RemovedFiles removed = clear_cache_folder(folder, before);
  return {.files = removed.files, .bytes = removed.bytes, .in_use = removed.in_use};
}

}  // namespace shoehorn
