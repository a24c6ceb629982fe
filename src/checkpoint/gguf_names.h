// From GGUF's tensor names to Hugging Face's state_dict names: one table an architecture.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/tensor_info.h"

namespace shoehorn::gguf {

/// Which heads a matrix's rows are interleaved by (TensorInfo::row_order).
enum class RowHeads : std::uint8_t { kNone, kQuery, kKeyValue };

/// A module of one name in GGUF and another in Hugging Face; ".weight" and ".bias" follow both.
struct ModuleName {
  std::string_view gguf;
  std::string_view hugging_face;
  RowHeads rows = RowHeads::kNone;
};

/// One architecture of general.architecture.
struct Architecture {
  std::string_view name;
  std::span<const ModuleName> modules;        // "token_embd" → "model.embed_tokens"
  std::string_view layer_prefix;              // what "blk." becomes: "model.layers."
  std::span<const ModuleName> layer_modules;  // below "blk.N.": "attn_q" → "self_attn.q_proj"
};

/// The table for `name` (general.architecture). Throws UnsupportedError listing the known ones;
/// `path` is for the message.
const Architecture& architecture_named(std::string_view name, const std::filesystem::path& path);

struct HuggingFaceName {
  std::string name;
  RowHeads rows = RowHeads::kNone;
};

/// Hugging Face's name of a GGUF tensor ("blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj
/// .weight"), or nothing where the table has none: such tensors keep their GGUF name.
std::optional<HuggingFaceName> hugging_face_name(const Architecture& architecture,
                                                 std::string_view gguf_name);

}  // namespace shoehorn::gguf
