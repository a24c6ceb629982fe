// shoehorn cache: the weight cache, listed and cleaned.

#include "shoehorn/cache.h"

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "commands.h"
#include "terminal.h"

namespace shoehorn::cli {
namespace {

constexpr double kMostDays = 36500;

struct CacheFlags {
  std::string what = "list";
  std::string folder;
  std::optional<double> older_than_days;
  bool json = false;
};

using Json = nlohmann::ordered_json;

void print_json(const Json& json) {
  std::cout << json.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
}

std::string date_text(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm local{};
  char text[32] = "";
  if (::localtime_r(&time, &local) == nullptr) return "?";
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &local);
  return text;
}

/// Files made from one checkpoint file into one form.
struct Shelf {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::int64_t last_used_s = 0;
  bool in_use = false;
};

void list(const CacheFlags& flags, const std::filesystem::path& folder) {
  const std::vector<CachedFile> files = list_weight_cache(folder);
  std::uint64_t total = 0;
  Json all = Json::array();
  std::map<std::pair<std::string, std::string>, Shelf> shelves;
  for (const CachedFile& file : files) {
    total += file.bytes;
    all.push_back({{"path", file.path.string()},
                   {"bytes", file.bytes},
                   {"last_used_s", file.last_used_s},
                   {"in_use", file.in_use},
                   {"complete", file.is_complete},
                   {"source", file.source},
                   {"tensor", file.tensor},
                   {"form", file.form}});
    Shelf& shelf = shelves[{file.is_complete ? file.source : "(not complete)", file.form}];
    ++shelf.files;
    shelf.bytes += file.bytes;
    shelf.last_used_s = std::max(shelf.last_used_s, file.last_used_s);
    shelf.in_use = shelf.in_use || file.in_use;
  }
  if (flags.json) {
    return print_json({{"folder", folder.string()}, {"bytes", total}, {"files", std::move(all)}});
  }
  std::cout << folder.string() << ": " << files.size() << " files, " << human_bytes(total) << '\n';
  for (const auto& [key, shelf] : shelves) {
    std::cout << "  " << std::left << std::setw(8) << key.second << std::right << std::setw(12)
              << human_bytes(shelf.bytes) << std::setw(7) << shelf.files << " files  last used "
              << date_text(shelf.last_used_s) << (shelf.in_use ? ", in use  " : "  ")
              << (key.first.empty() ? "(made up in memory)" : key.first) << '\n';
  }
}

void clear(const CacheFlags& flags, const std::filesystem::path& folder) {
  const ClearedCache cleared = clear_weight_cache(folder, flags.older_than_days);
  if (flags.json) {
    return print_json({{"folder", folder.string()},
                       {"removed_files", cleared.files},
                       {"removed_bytes", cleared.bytes},
                       {"in_use", cleared.in_use}});
  }
  std::cout << folder.string() << ": " << cleared.files << " files of "
            << human_bytes(cleared.bytes) << " removed";
  if (cleared.in_use > 0) std::cout << ", " << cleared.in_use << " are in use and stay";
  std::cout << '\n';
}

void run(const CacheFlags& flags) {
  const std::filesystem::path folder = weight_cache_folder(flags.folder);
  if (flags.older_than_days && flags.what != "clear") {
    throw ArgumentError("--older-than goes with `shoehorn cache clear`");
  }
  if (flags.what == "list") return list(flags, folder);
  if (flags.what == "clear") return clear(flags, folder);
  if (flags.json) return print_json({{"folder", folder.string()}});
  std::cout << folder.string() << '\n';
}

}  // namespace

void add_cache(CLI::App& app) {
  auto flags = std::make_shared<CacheFlags>();
  CLI::App* command = app.add_subcommand(
      "cache",
      "Lists and cleans the weight cache: weights that were quantized here and are streamed\n\n"
      "  shoehorn cache\n"
      "  shoehorn cache clear --older-than 30\n"
      "  shoehorn cache path");
  command->add_option("WHAT", flags->what, "list, clear or path")
      ->check(CLI::IsMember({"list", "clear", "path"}))
      ->capture_default_str();
  command->add_option("--offload-folder", flags->folder,
                      "The folder, where it is not shoehorn/weights in the user's cache folder");
  command
      ->add_option("--older-than", flags->older_than_days,
                   "clear: only what was not used for so many days")
      ->check(CLI::Range(0.0, kMostDays));
  command->add_flag("--json", flags->json, "Prints JSON");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
