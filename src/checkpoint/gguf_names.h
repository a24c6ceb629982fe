// From GGUF's tensor names to Hugging Face's state_dict names: one table an architecture.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/tensor_info.h"

namespace shoehorn::gguf {

/// How a file has a matrix (and its bias) otherwise than Hugging Face.
enum class Layout : std::uint8_t {
  kSame,
  kQueryRows,     // rows interleaved by query heads (TensorInfo::row_order)
  kKeyValueRows,  // likewise, by key-value heads
  kGroupedQkv,    // queries, keys and values sorted that Hugging Face has in groups
  kTransposed,    // [out, in] of a Conv1D, which is [in, out]; its bias is the same
};

/// A module of one name in GGUF and another in Hugging Face; ".weight" and ".bias" follow both. A *
/// in both stands for a number, one in Hugging Face's alone for each of a stack of experts.
struct ModuleName {
  std::string_view gguf;
  std::string_view hugging_face;
  Layout layout = Layout::kSame;
};

/// One architecture of general.architecture.
struct Architecture {
  std::string_view name;
  std::span<const ModuleName> modules;        // "token_embd" → "model.embed_tokens"
  std::string_view layer_prefix;              // what "blk." becomes: "model.layers."
  std::span<const ModuleName> layer_modules;  // below "blk.N.": "attn_q" → "self_attn.q_proj"
  /// A tensor that files of this table have, and others of the same name have not; empty: any.
  std::string_view mark = {};
};

/// The table for `name` (general.architecture); `has_tensor` says which tensors the file has, none
/// by default. Throws UnsupportedError listing the known ones; `path` is for the message.
const Architecture& architecture_named(
    std::string_view name, const std::filesystem::path& path,
    const std::function<bool(std::string_view)>& has_tensor = {});

struct HuggingFaceName {
  std::string name;
  Layout layout = Layout::kSame;
};

/// Hugging Face's name of a GGUF tensor ("blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj
/// .weight"), or nothing where the table has none: such tensors keep their GGUF name. A * in it
/// stands for the number of a matrix in a stack.
std::optional<HuggingFaceName> hugging_face_name(const Architecture& architecture,
                                                 std::string_view gguf_name);

}  // namespace shoehorn::gguf
