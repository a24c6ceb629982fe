// Any bytes as a GGUF file: refused with an Error, or every range lies inside the file and what is
// made of the metadata is JSON.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "checkpoint/gguf_config.h"
#include "checkpoint/gguf_names.h"
#include "checkpoint/gguf_reader.h"
#include "checkpoint/gguf_tokenizer.h"

namespace {

using shoehorn::TensorInfo;
namespace gguf = shoehorn::gguf;

void require(bool holds) {
  if (!holds) std::abort();
}

/// The one that the file names, or llama.
const gguf::Architecture& architecture_of(const gguf::Header& header) {
  const auto has_tensor = [&](std::string_view name) {
    return std::any_of(header.tensors.begin(), header.tensors.end(),
                       [&](const gguf::TensorEntry& entry) { return entry.name == name; });
  };
  try {
    return gguf::architecture_named(header.metadata.at_string("general.architecture"), "fuzz.gguf",
                                    has_tensor);
  } catch (const shoehorn::Error&) {
    return gguf::architecture_named("llama", "fuzz.gguf", has_tensor);
  }
}

std::vector<TensorInfo> checked_tensors(const gguf::Header& header, std::size_t size) {
  const gguf::Architecture& architecture = architecture_of(header);
  std::vector<TensorInfo> tensors;
  std::uint64_t covered = 0;
  for (const gguf::TensorEntry& entry : header.tensors) {
    const auto bytes = shoehorn::packed_bytes(entry.dtype, entry.shape.elements());
    require(bytes && *bytes == entry.bytes);
    require(entry.offset <= size && entry.bytes <= size - entry.offset);
    covered += entry.bytes;
    const auto name = gguf::hugging_face_name(architecture, entry.name);
    TensorInfo info;
    info.name = name ? name->name : entry.name;
    info.dtype = entry.dtype;
    info.shape = entry.shape;
    tensors.push_back(info);
  }
  require(covered <= size);  // they would overlap
  return tensors;
}

void require_json(const std::string& text) {
  require(text.empty() || nlohmann::json::accept(text));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    const gguf::Header header = gguf::read_header(shoehorn::source_of("fuzz.gguf", file));
    const std::vector<TensorInfo> tensors = checked_tensors(header, size);
    try {
      require_json(gguf::generation_config_json(header.metadata));
      require_json(gguf::config_json(header.metadata, {.tensors = tensors, .rope_divisors = {}}));
    } catch (const shoehorn::Error&) {
    }
    // A tokenizer that the file brings along is checked by whoever reads it.
    if (header.metadata.has("tokenizer.huggingface.json")) return 0;
    const gguf::TokenizerFiles tokenizer = gguf::tokenizer_files(header.metadata);
    require_json(tokenizer.tokenizer_json);
    require_json(tokenizer.tokenizer_config_json);
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
