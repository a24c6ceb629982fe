#include "checkpoint/weights_file.h"

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <string_view>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "checkpoint/shard_index.h"
#include "checkpoint/torch_file.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxNamesListed = 8;

std::string list_of(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMaxNamesListed); ++i) {
    text += str_cat(i > 0 ? ", " : "", printable(names[i]));
  }
  if (names.size() > kMaxNamesListed) {
    text += str_cat(" and ", names.size() - kMaxNamesListed, " more");
  }
  return text;
}

// The names in a folder that could hold weights, sorted.
struct Candidates {
  std::vector<std::string> safetensors;  // *.safetensors
  std::vector<std::string> indices;      // *.index.json, not of pickles
  std::vector<std::string> pickles;      // pytorch_model*.bin and their index
  std::vector<std::string> ggufs;        // single files and first parts
};

// model-00002-of-00005.gguf → model-00001-of-00005.gguf; other names stay.
std::string first_part(const std::string& name) {
  constexpr std::string_view kPattern = "-#####-of-#####.gguf";
  if (name.size() < kPattern.size()) return name;
  const std::size_t begin = name.size() - kPattern.size();
  for (std::size_t i = 0; i < kPattern.size(); ++i) {
    const char c = name[begin + i];
    const bool fits = kPattern[i] == '#' ? c >= '0' && c <= '9' : c == kPattern[i];
    if (!fits) return name;
  }
  return std::string(name).replace(begin + 1, 5, "00001");
}

Candidates list_candidates(const fs::path& folder) {
  Candidates found;
  std::set<std::string> ggufs;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::string_view view = name;
    if (view.ends_with(".safetensors")) found.safetensors.push_back(name);
    if (view.ends_with(".gguf")) ggufs.insert(first_part(name));
    const bool is_index = view.ends_with(".index.json");
    const bool is_pickle_index = view.ends_with(".bin.index.json");
    if (is_index && !is_pickle_index) found.indices.push_back(name);
    if (is_pickle_index || (view.starts_with("pytorch_model") && view.ends_with(".bin"))) {
      found.pickles.push_back(name);
    }
  }
  if (error) throw FileError(folder, error.message());
  found.ggufs.assign(ggufs.begin(), ggufs.end());
  for (auto* names : {&found.safetensors, &found.indices, &found.pickles}) {
    std::ranges::sort(*names);
  }
  return found;
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

// Says what else was there, so that nobody wonders which of two sets of weights answered.
WeightsFile choose(WeightsKind kind, const fs::path& folder, const std::string& name,
                   const Candidates& found) {
  std::vector<std::string> others;
  for (const auto* names : {&found.indices, &found.pickles, &found.ggufs}) {
    std::ranges::copy_if(*names, std::back_inserter(others),
                         [&](const std::string& other) { return other != name; });
  }
  WeightsFile chosen{.kind = kind, .path = folder / name, .notes = {}};
  if (!others.empty()) {
    chosen.notes.push_back(str_cat("reading ", name, "; not used: ", list_of(others)));
  }
  return chosen;
}

constexpr std::string_view kSupported =
    "readable are .safetensors and PyTorch's .bin (one file, or shards with an *.index.json), "
    ".gguf, and folders that Accelerate offloaded to";

}  // namespace

WeightsFile find_weights(const std::filesystem::path& folder) {
  const Candidates found = list_candidates(folder);
  if (contains(found.safetensors, "model.safetensors")) {
    return choose(WeightsKind::kSafetensors, folder, "model.safetensors", found);
  }
  const std::string usual_index = "model.safetensors.index.json";
  if (contains(found.indices, usual_index) || found.indices.size() == 1) {
    const bool usual = contains(found.indices, usual_index);
    return choose(WeightsKind::kShardIndex, folder, usual ? usual_index : found.indices.front(),
                  found);
  }
  if (found.indices.size() > 1) {
    throw FormatError(folder, str_cat("has several index files: ", list_of(found.indices),
                                      "; name one of them instead of the folder"));
  }
  for (const auto& [name, kind] : {std::pair("pytorch_model.bin", WeightsKind::kTorch),
                                   {"pytorch_model.bin.index.json", WeightsKind::kShardIndex}}) {
    if (contains(found.pickles, name)) return choose(kind, folder, name, found);
  }
  if (found.ggufs.size() == 1 && found.pickles.empty()) {
    return choose(WeightsKind::kGguf, folder, found.ggufs.front(), found);
  }
  if (found.ggufs.size() > 1) {
    throw FormatError(folder, str_cat("has several GGUF files: ", list_of(found.ggufs),
                                      "; name one of them instead of the folder"));
  }
  if (std::error_code ignored; fs::exists(folder / "index.json", ignored)) {
    return choose(WeightsKind::kOffloadFolder, folder, "index.json", found);
  }
  std::string what =
      "has no weights: neither model.safetensors, nor an *.index.json, nor pytorch_model.bin, nor "
      "a "
      ".gguf file";
  for (const auto* names : {&found.safetensors, &found.pickles}) {
    if (!names->empty()) what += str_cat("; to open ", list_of(*names), ", name the file");
  }
  throw FormatError(folder, what);
}

bool has_weights(const std::filesystem::path& folder) {
  try {
    const Candidates found = list_candidates(folder);
    std::error_code ignored;
    return !found.safetensors.empty() || !found.indices.empty() || !found.pickles.empty() ||
           !found.ggufs.empty() || fs::exists(folder / "index.json", ignored);
  } catch (const FileError&) {
    return false;
  }
}

WeightsFile classify_weights(const std::filesystem::path& file) {
  const std::string extension = file.extension().string();
  if (extension == ".safetensors") return {WeightsKind::kSafetensors, file, {}};
  if (extension == ".gguf") return {WeightsKind::kGguf, file, {}};
  if (file.filename() == "index.json") return {WeightsKind::kOffloadFolder, file, {}};
  if (extension == ".json") return {WeightsKind::kShardIndex, file, {}};
  if (has_torch_extension(file)) return {WeightsKind::kTorch, file, {}};
  // "GGUF", the '{' behind the length of a safetensors header, or what torch.save begins with.
  std::array<std::byte, 16> first{};
  const File opened(file);
  if (opened.size() >= first.size()) {
    opened.read_at(0, first);
    const std::string_view text(reinterpret_cast<const char*>(first.data()), first.size());
    if (text.starts_with("GGUF")) return {WeightsKind::kGguf, file, {}};
    if (looks_like_torch_file(first)) return {WeightsKind::kTorch, file, {}};
    if (text[8] == '{') return {WeightsKind::kSafetensors, file, {}};
  }
  throw FormatError(file, str_cat("is no checkpoint; ", kSupported));
}

}  // namespace shoehorn
