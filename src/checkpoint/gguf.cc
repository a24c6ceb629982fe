#include "checkpoint/gguf.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "checkpoint/gguf_config.h"
#include "checkpoint/gguf_keys.h"
#include "checkpoint/gguf_names.h"
#include "checkpoint/gguf_reader.h"
#include "checkpoint/gguf_tokenizer.h"
#include "checkpoint/printable.h"
#include "checkpoint/tensor_stack.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxParts = 99999;  // five digits in the name

/// "name-00001-of-00003.gguf" without its numbers.
struct PartName {
  std::string stem;
  std::uint64_t part = 0;  // from 1
  std::uint64_t count = 0;
};

std::optional<PartName> parse_part_name(const std::string& file_name) {
  constexpr std::string_view kShape = "-NNNNN-of-NNNNN.gguf";
  if (file_name.size() <= kShape.size()) return std::nullopt;
  const std::size_t start = file_name.size() - kShape.size();
  std::uint64_t numbers[2] = {0, 0};
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const char c = file_name[start + i];
    if (kShape[i] != 'N') {
      if (c != kShape[i]) return std::nullopt;
    } else if (c < '0' || c > '9') {
      return std::nullopt;
    } else {
      std::uint64_t& number = numbers[i < 6 ? 0 : 1];
      number = 10 * number + static_cast<std::uint64_t>(c - '0');
    }
  }
  return PartName{file_name.substr(0, start), numbers[0], numbers[1]};
}

fs::path path_of_part(const fs::path& any, const PartName& name, std::uint64_t part) {
  std::array<char, 32> numbers;
  std::snprintf(numbers.data(), numbers.size(), "-%05u-of-%05u.gguf", static_cast<unsigned>(part),
                static_cast<unsigned>(name.count));
  return any.parent_path() / (name.stem + numbers.data());
}

/// The files of a model and what their headers say; the first one has the metadata.
struct OpenedParts {
  std::vector<File> files;
  std::vector<gguf::Header> headers;
  std::vector<std::string> notes;
};

std::uint64_t part_count(const gguf::Header& header) {
  const std::uint64_t count = header.metadata.find_uint("split.count").value_or(1);
  if (count == 0 || count > kMaxParts) {
    throw FormatError(header.metadata.path(),
                      str_cat("split.count: ", count, " is not between 1 and ", kMaxParts));
  }
  return count;
}

void check_part(const gguf::Header& header, std::uint64_t part, std::uint64_t count) {
  const std::uint64_t number = header.metadata.find_uint("split.no").value_or(0);
  if (number != part || part_count(header) != count) {
    throw FormatError(header.metadata.path(),
                      str_cat("split.no ", number, " of ", part_count(header),
                              " where the name asks for ", part, " of ", count));
  }
}

void open_other_parts(OpenedParts& opened, const PartName& name, const fs::path& path) {
  for (std::uint64_t part = 1; part < name.count; ++part) {
    opened.files.emplace_back(path_of_part(path, name, part + 1));
    opened.headers.push_back(gguf::read_header(source_of(opened.files.back())));
    check_part(opened.headers.back(), part, name.count);
  }
  std::uint64_t tensors = 0;
  for (const gguf::Header& header : opened.headers) tensors += header.tensors.size();
  const gguf::Metadata& metadata = opened.headers.front().metadata;
  const std::uint64_t said = metadata.find_uint("split.tensors.count").value_or(tensors);
  if (said != tensors) {
    throw FormatError(metadata.path(), str_cat("split.tensors.count: ", said, ", but the ",
                                               name.count, " files have ", tensors, " tensors"));
  }
}

OpenedParts open_parts(fs::path path) {
  OpenedParts opened;
  const auto name = parse_part_name(path.filename().string());
  if (name && name->part > 1) {
    const fs::path first = path_of_part(path, *name, 1);
    opened.notes.push_back(str_cat(path.filename().string(), " is part ", name->part, " of ",
                                   name->count, ": opened from ", first.filename().string()));
    path = first;
  }
  opened.files.emplace_back(path);
  opened.headers.push_back(gguf::read_header(source_of(opened.files.front())));
  const std::uint64_t count = part_count(opened.headers.front());
  if (count == 1) return opened;
  if (!name || name->count != count) {
    throw FormatError(path,
                      str_cat("split.count says ", count, " files; their names end in -00001-of-",
                              std::string(count < 10 ? "0000" : ""), count, ".gguf"));
  }
  check_part(opened.headers.front(), 0, count);
  open_other_parts(opened, *name, path);
  return opened;
}

/// Queries, keys and values in one matrix, which converters sort.
RowOrder grouped_order(const gguf::Heads& heads, const gguf::TensorEntry& entry,
                       const fs::path& path) {
  const std::int64_t all = heads.query + 2 * heads.key_value;
  if (entry.shape.rank() == 0 || entry.shape[0] == 0 || entry.shape[0] % all != 0) {
    throw FormatError(path, str_cat("tensor ", printable(entry.name), " ", to_string(entry.shape),
                                    ": its rows do not make ", all, " heads"));
  }
  if (heads.key_value == 1) return {};  // one group is sorted as it is
  return {.qkv_groups = heads.key_value, .qkv_heads = all};
}

/// How the rows of a matrix are stored; checks that heads of an even size divide them.
RowOrder row_order_of(gguf::Layout layout, const gguf::Heads& heads, const gguf::TensorEntry& entry,
                      const fs::path& path) {
  if (layout == gguf::Layout::kGroupedQkv) return grouped_order(heads, entry, path);
  if (layout != gguf::Layout::kQueryRows && layout != gguf::Layout::kKeyValueRows) return {};
  const std::int64_t count = layout == gguf::Layout::kQueryRows ? heads.query : heads.key_value;
  if (entry.shape.rank() == 0 || entry.shape[0] % (2 * count) != 0) {
    throw FormatError(path, str_cat("tensor ", printable(entry.name), " ", to_string(entry.shape),
                                    ": its rows do not make ", count, " heads of an even size"));
  }
  return {.interleaved_heads = count};
}

void check_unique(const Checkpoint::Parts& parts) {
  std::unordered_map<std::string_view, std::uint32_t> file_of;
  for (const TensorInfo& tensor : parts.tensors) {
    const auto [found, is_new] = file_of.emplace(tensor.name, tensor.file);
    if (!is_new) {
      throw FormatError(parts.files[tensor.file].path(),
                        str_cat("tensor ", printable(tensor.name), " is also in ",
                                parts.files[found->second].path().filename().string()));
    }
  }
}

/// A stored matrix [out, in] as the [in, out] that a Conv1D has.
void transpose(TensorInfo& info) {
  if (info.shape.rank() != 2) return;  // its bias
  info.strides = {1, info.shape[1]};
  info.shape = {info.shape[1], info.shape[0]};
}

/// Adds a stack of experts [experts, N, K] as a matrix [N, K] each, which is how released files
/// have them; `stack` has a * in its name.
void add_experts(Checkpoint::Parts& parts, const TensorInfo& stack,
                 const gguf::Metadata& metadata) {
  constexpr std::uint64_t kMostExperts = 1 << 16;
  const gguf::ArchitectureKeys keys(metadata);
  const auto experts = static_cast<std::uint64_t>(keys.at_size("expert_count"));
  const Shape& shape = stack.shape;
  if (shape.rank() != 3 || shape.elements() == 0 || experts > kMostExperts ||
      static_cast<std::uint64_t>(shape[0]) != experts) {
    throw FormatError(
        parts.path,
        str_cat("tensor for ", stack.name, " ", to_string(shape), ": ", keys.key("expert_count"),
                " is ", experts, "; it needs a matrix for each of at most ", kMostExperts));
  }
  const std::size_t star = stack.name.find('*');
  std::int64_t expert = 0;
  for (TensorInfo& matrix :
       slices_of(stack, shape[0], Shape{shape[1], shape[2]}, /*transposed=*/false)) {
    matrix.name = stack.name;
    matrix.name.replace(star, 1, std::to_string(expert++));
    parts.tensors.push_back(std::move(matrix));
  }
}

/// Factors of the RoPE frequencies, which are part of the config in Hugging Face's files.
struct RopeFactors {
  std::vector<float> divisors;
  std::vector<float> long_factors;
  std::vector<float> short_factors;

  std::vector<float>* find(std::string_view name) {
    if (name == "rope_freqs.weight") return &divisors;
    if (name == "rope_factors_long.weight") return &long_factors;
    if (name == "rope_factors_short.weight") return &short_factors;
    return nullptr;
  }
};

std::vector<float> read_rope_factors(const File& file, const gguf::TensorEntry& entry) {
  constexpr std::size_t kMaxBytes = 1 << 16;
  if (entry.dtype != DType::kF32 || entry.bytes > kMaxBytes) {
    throw UnsupportedError(str_cat(file.path().string(), ": tensor ", entry.name, " is ",
                                   to_string(entry.dtype), " ", to_string(entry.shape),
                                   "; supported is a short F32 vector"));
  }
  std::vector<float> factors(entry.bytes / sizeof(float));
  file.read_at(entry.offset, std::as_writable_bytes(std::span(factors)));
  return factors;
}

bool has_tensor(const OpenedParts& opened, std::string_view name) {
  return std::any_of(opened.headers.begin(), opened.headers.end(), [&](const auto& header) {
    return std::any_of(header.tensors.begin(), header.tensors.end(),
                       [&](const gguf::TensorEntry& entry) { return entry.name == name; });
  });
}

/// Tensors under Hugging Face's names; factors of RoPE go to `rope` instead.
void add_tensors(Checkpoint::Parts& parts, const OpenedParts& opened, RopeFactors& rope) {
  const gguf::Metadata& metadata = opened.headers.front().metadata;
  const gguf::Architecture& architecture =
      gguf::architecture_named(metadata.at_string("general.architecture"), metadata.path(),
                               [&](std::string_view name) { return has_tensor(opened, name); });
  const gguf::Heads heads = gguf::heads_of(metadata);
  for (std::uint32_t file = 0; file < opened.headers.size(); ++file) {
    for (const gguf::TensorEntry& entry : opened.headers[file].tensors) {
      if (std::vector<float>* const factors = rope.find(entry.name)) {
        *factors = read_rope_factors(opened.files[file], entry);
        continue;
      }
      const auto name = gguf::hugging_face_name(architecture, entry.name);
      const auto layout = name ? name->layout : gguf::Layout::kSame;
      TensorInfo info = {
          .name = name ? name->name : entry.name,
          .dtype = entry.dtype,
          .shape = entry.shape,
          .file = file,
          .offset = entry.offset,
          .bytes = entry.bytes,
          .row_order = row_order_of(layout, heads, entry, opened.files[file].path())};
      if (layout == gguf::Layout::kTransposed) transpose(info);
      if (name && info.name.find('*') != std::string::npos) {
        add_experts(parts, info, metadata);
      } else {
        parts.tensors.push_back(std::move(info));
      }
    }
  }
}

}  // namespace

Checkpoint::Parts open_gguf(const fs::path& path) {
  OpenedParts opened = open_parts(path);
  const gguf::Metadata& metadata = opened.headers.front().metadata;
  Checkpoint::Parts parts;
  parts.path = path;
  parts.format = "gguf";
  RopeFactors rope;
  add_tensors(parts, opened, rope);
  parts.config_json = gguf::config_json(metadata, {.tensors = parts.tensors,
                                                   .rope_divisors = rope.divisors,
                                                   .rope_long = rope.long_factors,
                                                   .rope_short = rope.short_factors});
  parts.generation_config_json = gguf::generation_config_json(metadata);
  gguf::TokenizerFiles tokenizer = gguf::tokenizer_files(metadata);
  parts.tokenizer_json = std::move(tokenizer.tokenizer_json);
  parts.tokenizer_config_json = std::move(tokenizer.tokenizer_config_json);
  parts.notes = std::move(opened.notes);
  parts.notes.insert(parts.notes.end(), tokenizer.notes.begin(), tokenizer.notes.end());
  parts.files = std::move(opened.files);
  check_unique(parts);
  return parts;
}

}  // namespace shoehorn
