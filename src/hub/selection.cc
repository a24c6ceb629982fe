#include "hub/selection.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include <fnmatch.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/printable.h"

namespace shoehorn::hub {
namespace {

constexpr std::array<std::string_view, 16> kSmallFiles = {"config.json",
                                                          "generation_config.json",
                                                          "tokenizer.json",
                                                          "tokenizer.model",
                                                          "tokenizer_config.json",
                                                          "special_tokens_map.json",
                                                          "added_tokens.json",
                                                          "vocab.json",
                                                          "vocab.txt",
                                                          "merges.txt",
                                                          "spiece.model",
                                                          "sentencepiece.bpe.model",
                                                          "source.spm",
                                                          "chat_template.jinja",
                                                          "chat_template.json",
                                                          "adapter_config.json"};

bool is_small(std::string_view name) {
  return std::ranges::find(kSmallFiles, name) != kSmallFiles.end() ||
         (name.starts_with("additional_chat_templates/") && name.ends_with(".jinja"));
}

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
  });
}

std::string list_of(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 24;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kMost); ++i) {
    text += "\n  " + printable(names[i]);
  }
  if (names.size() > kMost) text += str_cat("\n  and ", names.size() - kMost, " more");
  return text;
}

// model-00002-of-00005.gguf → model; other names without their extension.
std::string gguf_set(std::string_view name) {
  constexpr std::string_view kPart = "-00000-of-00000";
  name.remove_suffix(std::string_view(".gguf").size());
  if (name.size() <= kPart.size()) return std::string(name);
  const std::string_view tail = name.substr(name.size() - kPart.size());
  for (std::size_t i = 0; i < kPart.size(); ++i) {
    const bool digit = tail[i] >= '0' && tail[i] <= '9';
    if (kPart[i] == '0' ? !digit : tail[i] != kPart[i]) return std::string(name);
  }
  return std::string(name.substr(0, name.size() - kPart.size()));
}

// Files of the first folder that end so.
std::vector<std::string> ending(const std::vector<std::string>& files, std::string_view end) {
  std::vector<std::string> found;
  std::ranges::copy_if(files, std::back_inserter(found), [end](const std::string& name) {
    return name.ends_with(end) && name.find('/') == std::string::npos;
  });
  return found;
}

bool has(const std::vector<std::string>& files, const std::string& name) {
  return std::ranges::find(files, name) != files.end();
}

// The file or files with the weights; an index is named, its shards are not.
std::vector<std::string> weights_of(const std::string& repository,
                                    const std::vector<std::string>& files) {
  if (has(files, "model.safetensors")) return {"model.safetensors"};
  const std::string usual_index = "model.safetensors.index.json";
  if (has(files, usual_index)) return {usual_index};
  if (auto found = ending(files, ".safetensors.index.json"); found.size() == 1) return found;
  for (const char* name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (has(files, name)) return {name};
  }
  const std::vector<std::string> ggufs = ending(files, ".gguf");
  std::set<std::string> sets;
  for (const std::string& name : ggufs) sets.insert(gguf_set(name));
  if (sets.size() == 1) return ggufs;
  if (!sets.empty()) {
    throw UnsupportedError(
        str_cat(repository, ": holds ", sets.size(),
                " GGUF models; --include '*Q4_K_M*' (or the like) chooses:", list_of(ggufs)));
  }
  for (const char* name : {"adapter_model.safetensors", "adapter_model.bin"}) {
    if (has(files, name)) return {name};
  }
  std::vector<std::string> others = ending(files, ".safetensors");
  if (others.size() == 1) return others;
  throw UnsupportedError(str_cat(
      repository,
      ": has no weights that can be read (model.safetensors, pytorch_model.bin, an index of "
      "either, or .gguf); --include PATTERN chooses others. Its files:",
      list_of(files)));
}

}  // namespace

Selection select_files(const std::string& repository, const std::vector<std::string>& files,
                       const std::vector<std::string>& include) {
  std::vector<std::string> weights;
  if (include.empty()) {
    weights = weights_of(repository, files);
  } else {
    std::ranges::copy_if(files, std::back_inserter(weights),
                         [&](const std::string& name) { return matches(name, include); });
    if (weights.empty()) {
      throw UnsupportedError(
          str_cat(repository, ": no file matches --include; its files:", list_of(files)));
    }
  }
  Selection selection;
  for (const std::string& name : files) {
    if (is_small(name) || has(weights, name)) selection.files.push_back(name);
  }
  if (include.empty() && weights.front().ends_with(".index.json")) {
    selection.index = weights.front();
  }
  return selection;
}

}  // namespace shoehorn::hub
