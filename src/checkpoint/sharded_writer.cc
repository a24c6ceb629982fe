#include "checkpoint/sharded_writer.h"

#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/str_cat.h"
#include "base/written_file.h"

namespace shoehorn {
namespace {

using Metadata = std::array<std::pair<std::string, std::string>, 1>;

std::string five_digits(std::size_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "%05zu", value);
  return text.data();
}

}  // namespace

std::size_t write_sharded(const std::filesystem::path& folder,
                          std::span<const TensorSource> tensors, std::size_t max_shard_bytes) {
  std::vector<std::span<const TensorSource>> shards;
  std::size_t total = 0;
  for (std::size_t begin = 0; begin < tensors.size();) {
    std::size_t end = begin;
    std::size_t bytes = 0;
    while (end < tensors.size() &&
           (end == begin || bytes + tensors[end].bytes() <= max_shard_bytes)) {
      bytes += tensors[end++].bytes();
    }
    shards.push_back(tensors.subspan(begin, end - begin));
    total += bytes;
    begin = end;
  }
  const Metadata metadata = {{{"format", "pt"}}};
  if (shards.size() <= 1) {
    stream_safetensors(folder / "model.safetensors", tensors, metadata);
    return total;
  }
  nlohmann::json index;  // sorted by key, as the reference writes it
  index["metadata"]["total_size"] = total;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        str_cat("model-", five_digits(i + 1), "-of-", five_digits(shards.size()), ".safetensors");
    stream_safetensors(folder / name, shards[i], metadata);
    for (const TensorSource& tensor : shards[i]) index["weight_map"][tensor.name] = name;
  }
  const std::string text = index.dump(2) + "\n";
  WrittenFile file(folder / "model.safetensors.index.json");
  file.write(std::as_bytes(std::span(text)));
  file.commit();
  return total;
}

}  // namespace shoehorn
