#include "checkpoint/shard_index.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include <simdjson.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"
#include "checkpoint/safetensors_header.h"
#include "checkpoint/torch_file.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;
namespace ondemand = simdjson::ondemand;

constexpr std::size_t kMaxProblemsListed = 20;

// The lines of a report, as many as one can read.
class Problems {
 public:
  void add(const std::string& line) {
    if (++count_ <= kMaxProblemsListed) text_ += "\n  " + line;
  }
  void throw_if_any(const fs::path& path, std::string_view what) const {
    if (count_ == 0) return;
    const std::size_t more = count_ - std::min(count_, kMaxProblemsListed);
    throw FormatError(path,
                      str_cat(what, text_, more > 0 ? str_cat("\n  and ", more, " more") : ""));
  }

 private:
  std::size_t count_ = 0;
  std::string text_;
};

// The shard's name without "./", once it is known to stay inside the folder. Symbolic links may
// lead out of it: in the hub's cache every file is one.
std::string checked_shard_name(std::string_view name, std::string_view tensor,
                               const fs::path& path) {
  const fs::path shard(name);
  const bool leaves = shard.is_absolute() || std::ranges::find(shard, "..") != shard.end();
  if (name.empty() || leaves || name.find('\0') != std::string_view::npos) {
    throw FormatError(path, str_cat(printable(tensor), ": its file \"", printable(name),
                                    "\" does not name a file in the folder of the index"));
  }
  return shard.lexically_normal().string();
}

using StringMap = std::vector<std::pair<std::string, std::string>>;

// Root values other than weight_map and strings are skipped by their brackets alone.
StringMap parse_weight_map(std::string& json, const fs::path& path) {
  const std::size_t bytes = json.size();
  json.resize(bytes + simdjson::SIMDJSON_PADDING, ' ');
  StringMap listed;     // what weight_map holds
  StringMap top_level;  // the strings of the root, which are the map where there is no weight_map
  bool has_weight_map = false;
  std::string stranger;  // a root value that is no string
  ondemand::parser parser;
  ondemand::document document =
      parser.iterate(std::string_view{json}.substr(0, bytes), json.size()).value();
  for (ondemand::field field : document.get_object()) {
    std::string key(field.unescaped_key().value());
    ondemand::value value = field.value();
    const ondemand::json_type type = value.type();
    if (type == ondemand::json_type::string) {
      top_level.emplace_back(std::move(key), value.get_string().value());
    } else if (key != "weight_map") {
      stranger = std::move(key);
    } else {
      if (type != ondemand::json_type::object) {
        throw FormatError(path, "weight_map must be an object of strings (tensor: file)");
      }
      if (has_weight_map) throw FormatError(path, "has weight_map twice");
      has_weight_map = true;
      for (ondemand::field entry : value.get_object()) {
        std::string tensor(entry.unescaped_key().value());
        std::string_view file;
        if (entry.value().get_string().get(file) != simdjson::SUCCESS) {
          throw FormatError(path, str_cat(printable(tensor), ": its file must be a string"));
        }
        listed.emplace_back(std::move(tensor), file);
      }
    }
  }
  const char* rest = nullptr;
  if (document.current_location().get(rest) == simdjson::SUCCESS) {
    throw FormatError(path, "has more than one JSON value");
  }
  if (has_weight_map) return listed;
  if (!stranger.empty()) {
    throw FormatError(path, str_cat("is no index: it has no weight_map, and the value of ",
                                    printable(stranger), " is not a file name"));
  }
  return top_level;
}

void require_each_once(const StringMap& map, const fs::path& path) {
  std::unordered_set<std::string_view> seen;
  seen.reserve(map.size());
  for (const auto& [tensor, file] : map) {
    if (!seen.insert(tensor).second) {
      throw FormatError(path, str_cat(printable(tensor), ": is listed twice"));
    }
  }
}

void require_shards(const ShardIndex& index, const fs::path& path) {
  std::vector<const std::string*> example(index.shards.size(), nullptr);
  for (const auto& [tensor, shard] : index.weight_map) {
    if (example[shard] == nullptr) example[shard] = &tensor;
  }
  Problems problems;
  for (std::size_t i = 0; i < index.shards.size(); ++i) {
    std::error_code ignored;
    if (fs::exists(path.parent_path() / index.shards[i], ignored)) continue;
    problems.add(str_cat(printable(index.shards[i]), ", which should hold ", printable(*example[i]),
                         " among others"));
  }
  problems.throw_if_any(path, "names files that are not there; is the download complete?");
}

using TensorsByName = std::unordered_map<std::string_view, const TensorInfo*>;

TensorsByName require_unique_over_shards(const Checkpoint::Parts& parts) {
  TensorsByName by_name;
  by_name.reserve(parts.tensors.size());
  for (const TensorInfo& info : parts.tensors) {
    const auto [first, is_new] = by_name.emplace(info.name, &info);
    if (is_new) continue;
    throw FormatError(parts.files[info.file].path(),
                      str_cat(printable(info.name), ": is also in ",
                              parts.files[first->second->file].path().filename().string()));
  }
  return by_name;
}

void require_listed_tensors(const ShardIndex& index, const Checkpoint::Parts& parts,
                            const TensorsByName& by_name, const fs::path& path) {
  Problems problems;
  for (const auto& [tensor, shard] : index.weight_map) {
    const auto found = by_name.find(tensor);
    if (found != by_name.end() && found->second->file == shard) continue;
    std::string line = str_cat(printable(tensor), ": is not in ", printable(index.shards[shard]));
    if (found != by_name.end()) {
      const fs::path& other = parts.files[found->second->file].path();
      line += str_cat(" but in ", other.filename().string());
    }
    problems.add(line);
  }
  problems.throw_if_any(path, "lists tensors that are not where it says:");
}

/// Checks that the shards are all of one kind; true where that is PyTorch's.
bool are_torch(const std::vector<std::string>& shards, const fs::path& path) {
  for (const std::string& shard : shards) {
    if (has_torch_extension(shard) == has_torch_extension(shards.front())) continue;
    throw FormatError(path, str_cat("names files of two kinds: ", printable(shards.front()),
                                    " and ", printable(shard)));
  }
  return has_torch_extension(shards.front());
}

void add_shard(Checkpoint::Parts& parts, const fs::path& shard, bool is_torch) {
  const auto number = static_cast<std::uint32_t>(parts.files.size());
  parts.files.emplace_back(shard);
  const File& file = parts.files.back();
  if (!is_torch) {
    SafetensorsHeader header = read_safetensors_header(file, number);
    std::ranges::move(header.tensors, std::back_inserter(parts.tensors));
    return;
  }
  pickle::TorchTensors torch = read_torch_file(source_of(file), number);
  std::ranges::move(torch.tensors, std::back_inserter(parts.tensors));
  std::ranges::move(torch.notes, std::back_inserter(parts.notes));
}

}  // namespace

bool has_torch_extension(const std::filesystem::path& file) {
  const fs::path extension = file.extension();
  return extension == ".bin" || extension == ".pt" || extension == ".pth";
}

ShardIndex parse_shard_index(std::string json, const std::filesystem::path& path) {
  StringMap map;
  try {
    map = parse_weight_map(json, path);
  } catch (const simdjson::simdjson_error& error) {
    throw FormatError(path, str_cat("is not a JSON object: ", error.what()));
  }
  if (map.empty()) throw FormatError(path, "lists no tensors");
  require_each_once(map, path);
  std::map<std::string, std::uint32_t> shards;
  for (auto& [tensor, file] : map) {
    file = checked_shard_name(file, tensor, path);
    shards.emplace(file, 0);
  }
  ShardIndex index;
  for (auto& [file, number] : shards) {
    number = static_cast<std::uint32_t>(index.shards.size());
    index.shards.push_back(file);
  }
  index.is_torch = are_torch(index.shards, path);
  index.weight_map.reserve(map.size());
  for (auto& [tensor, file] : map) {
    index.weight_map.emplace_back(std::move(tensor), shards.at(file));
  }
  return index;
}

Checkpoint::Parts open_shards(const std::filesystem::path& path) {
  const ShardIndex index =
      parse_shard_index(read_text_file(path, kMaxSafetensorsHeaderBytes), path);
  require_shards(index, path);
  Checkpoint::Parts parts;
  parts.path = path;
  parts.format = index.is_torch ? "pytorch" : "safetensors";
  for (const std::string& shard : index.shards) {
    add_shard(parts, path.parent_path() / shard, index.is_torch);
  }
  require_listed_tensors(index, parts, require_unique_over_shards(parts), path);
  return parts;
}

}  // namespace shoehorn
