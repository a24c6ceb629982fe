// Where a model folder keeps its chat templates, and which special tokens they may name; mirrors
// what transformers' PreTrainedTokenizerBase.from_pretrained reads.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shoehorn {

/// What ChatTemplate::from_sources takes.
struct ChatTemplateFiles {
  std::vector<std::pair<std::string, std::string>> sources;         // name, text; none: no template
  std::vector<std::pair<std::string, std::string>> special_tokens;  // "bos_token", "<s>"
  std::filesystem::path path;                                       // names them in errors
};

/// chat_template.jinja ("default") and additional_chat_templates/*.jinja, by their stems; where
/// there are none, the text of `tokenizer_config_json` (one template, or a list of {"name",
/// "template"}). Special tokens are its members bos_token, eos_token and the like, strings or
/// objects with a "content"; where it has no added_tokens_decoder, those of special_tokens_map.json
/// win. `folder` may be empty: a GGUF file has nothing beside it. Throws FileError, FormatError.
ChatTemplateFiles find_chat_templates(const std::filesystem::path& folder,
                                      std::string_view tokenizer_config_json);

}  // namespace shoehorn
