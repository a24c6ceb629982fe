// Chat templates: from messages to the prompt that a model was trained on, byte for byte as
// transformers' apply_chat_template renders it with jinja2. A template is a program from a
// stranger: it sees its variables and nothing else, and is stopped when it takes too much.
#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoehorn/error.h"

namespace shoehorn {

/// A template that is not Jinja, that refused its messages, or that went beyond its limits.
class TemplateError : public Error {
 public:
  enum class Kind {
    kSyntax,     ///< not a template
    kRaised,     ///< the template called raise_exception
    kUndefined,  ///< it used something that is not there
    kRuntime,    ///< an operation failed
    kSecurity,   ///< it asked for what templates may not touch
    kLimit,      ///< it took too many steps, too much memory or too deep a nesting
  };
  TemplateError(Kind kind, const std::string& where, const std::string& message)
      : Error(where + ": " + message), kind_(kind), message_(message) {}

  Kind kind() const { return kind_; }
  /// Without the place: for kRaised exactly what the template said.
  const std::string& message() const { return message_; }

 private:
  Kind kind_;
  std::string message_;
};
/// "syntax", "raise_exception", "undefined", "runtime", "security", "limit".
std::string_view to_string(TemplateError::Kind kind);

/// One turn of a conversation.
struct ChatMessage {
  std::string role;  // "system", "user", "assistant", ...
  std::string content;
};

/// The templates of one model, compiled. Immutable, thread-safe.
class ChatTemplate {
 public:
  /// From the text of a template; `path` names it in errors. Throws TemplateError.
  static ChatTemplate from_source(std::string_view source, const std::filesystem::path& path);
  /// Several by name, of which render() takes "tool_use" where tools are given, else "default".
  /// `special_tokens`: bos_token and the like, variables that every rendering sees.
  static ChatTemplate from_sources(const std::vector<std::pair<std::string, std::string>>& sources,
                                   std::vector<std::pair<std::string, std::string>> special_tokens,
                                   const std::filesystem::path& path);

  ~ChatTemplate();
  ChatTemplate(ChatTemplate&& other) noexcept;
  ChatTemplate& operator=(ChatTemplate&& other) noexcept;

  /// Renders with the members of a JSON object as variables: "messages", and whatever else the
  /// template knows ("tools", "documents", "add_generation_prompt", "enable_thinking", ...). They
  /// win over special tokens of the same name. "chat_template" names one of several templates. The
  /// member "now" ("2026-11-22T12:34:56") sets the clock of strftime_now and is no variable. Text
  /// in messages is never read as a template. The result is tokenized without adding special
  /// tokens. Throws TemplateError, FormatError where the JSON is broken, ArgumentError for a
  /// template that is not there.
  std::string render(std::string_view variables_json) const;
  /// The same for plain messages; `variables_json` (an object, or empty) has further variables.
  std::string render(const std::vector<ChatMessage>& messages, bool add_generation_prompt,
                     std::string_view variables_json = {}) const;

  /// The text of "bos_token" and the like; nothing where the model has none.
  std::optional<std::string_view> special_token(std::string_view name) const;
  /// Names of the templates.
  std::vector<std::string> names() const;
  /// The text of one of them.
  std::string_view source(std::string_view name = "default") const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

/// The chat template of a model (as from_pretrained names it; weights are not needed) or of a
/// .jinja file: additional_chat_templates/*.jinja and chat_template.jinja, else what
/// tokenizer_config.json or the GGUF file has. Throws FileError, FormatError, TemplateError,
/// UnsupportedError where the model has no template.
ChatTemplate load_chat_template(const std::string& model);

}  // namespace shoehorn
