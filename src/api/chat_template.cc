// A model's templates, with the model or without it.

#include "shoehorn/chat_template.h"

#include "shoehorn/error.h"

#include "api/chat_template_source.h"
#include "api/model_impl.h"
#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/model_path.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxTemplateBytes = 4U << 20;
constexpr std::uint64_t kMaxTokenizerConfigBytes = 64U << 20;

}  // namespace

ChatTemplateFiles chat_template_files(const Checkpoint& checkpoint) {
  const fs::path& path = checkpoint.path();
  std::error_code ignored;
  // A GGUF file says it itself; files that lie beside it are another model's as likely as not.
  const fs::path folder = checkpoint.format() == "gguf"     ? fs::path()
                          : fs::is_directory(path, ignored) ? path
                                                            : path.parent_path() / ".";
  ChatTemplateFiles files = find_chat_templates(folder, checkpoint.tokenizer_config_json());
  if (folder.empty()) files.path = path;
  return files;
}

ChatTemplate make_chat_template(const ChatTemplateFiles& files, const std::string& model) {
  if (files.sources.empty()) {
    throw UnsupportedError(str_cat(
        model, ": has no chat template",
        files.path == model ? "" : ", neither chat_template.jinja nor one in tokenizer_config.json",
        ", as models that were not trained to chat; --chat-template FILE names one, and "
        "without --chat or -i text goes to the model as it is"));
  }
  return ChatTemplate::from_sources(files.sources, files.special_tokens, files.path);
}

ChatTemplate Model::chat_template(std::string_view source) const {
  const Checkpoint& checkpoint = impl_->loaded->checkpoint();
  ChatTemplateFiles files = chat_template_files(checkpoint);
  if (!source.empty()) {
    files.sources = {{"default", std::string(source)}};
    files.path = "chat template";
  }
  return make_chat_template(files, checkpoint.path().string());
}

ChatTemplate load_chat_template(const std::string& model) {
  const fs::path path = resolve_model_path(model);
  std::error_code ignored;
  if (path.extension() == ".jinja" && fs::is_regular_file(path, ignored)) {
    return ChatTemplate::from_source(read_text_file(path, kMaxTemplateBytes), path);
  }
  // Of a folder nothing but the small files is looked at: it need not have weights.
  if (fs::is_directory(path, ignored)) {
    const fs::path config = path / "tokenizer_config.json";
    const std::string json =
        fs::exists(config, ignored) ? read_text_file(config, kMaxTokenizerConfigBytes) : "";
    const ChatTemplateFiles files = find_chat_templates(path, json);
    if (!files.sources.empty()) return make_chat_template(files, model);
  }
  return make_chat_template(chat_template_files(open_checkpoint(path)), model);
}

}  // namespace shoehorn
