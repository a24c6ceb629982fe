// A conversation with a model: its messages, and a session that keeps what was computed of them, so
// that a turn computes only what is new.
//
//   shoehorn::Chat chat(model, {.generate = {.max_new_tokens = 200}});
//   for (const auto& piece : chat.say("Hello")) std::cout << piece << std::flush;
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "shoehorn/chat_template.h"
#include "shoehorn/model.h"

namespace shoehorn {

struct ChatOptions {
  GenerateOptions generate = {};
  /// A JSON object of further variables of the template ("tools", "enable_thinking", ...); empty:
  /// none.
  std::string template_variables = {};
  /// A JSON array of tools for the template, or an object with "tools"; empty: none.
  std::string tools = {};
  /// Another template than the model's own: its text.
  std::string chat_template = {};
  /// Positions of the session; 0: Model::max_context().
  std::int64_t capacity = 0;
  /// Where the context is full, leaves out the oldest turns behind the system prompt, and computes
  /// the rest anew. Otherwise a full context is an error.
  bool context_shift = false;
};

/// Borrows its Model. Not thread-safe, but for Generation::cancel() of a reply.
class Chat {
 public:
  /// Throws UnsupportedError where the model has no tokenizer or no template, TemplateError,
  /// FormatError for variables that are no JSON object, DeviceError where there is no room.
  explicit Chat(const Model& model, ChatOptions options = {});
  ~Chat();
  Chat(Chat&&) noexcept;
  Chat& operator=(Chat&&) noexcept;

  /// Adds a message of the user and begins the reply to it. The reply runs while it is read, is
  /// part of the conversation once the chat is asked for anything else (a cancelled one as far as
  /// it came; if that is nothing, its question is forgotten), and is valid until then. An
  /// end-of-turn token of tokenizer_config.json ends it as one of generation_config.json does.
  /// Throws TemplateError, and PlanError where the context is full; the message then is forgotten.
  Generation& say(std::string_view text);
  /// The same for the messages that are there.
  Generation& reply();

  void add_message(const ChatMessage& message);
  /// Replaces the system message at the beginning; an empty text removes it.
  void set_system(std::string_view text);
  /// Forgets all but the system message.
  void clear();

  /// {"messages": [...]}, with the other variables that set_conversation() was given.
  std::string conversation_json();
  /// Replaces the conversation: an array of messages, or an object with "messages" and further
  /// variables of the template. Throws FormatError.
  void set_conversation(std::string_view json);
  /// Messages there are, and how many of these --context-shift left out of the last prompt.
  std::size_t messages();
  std::size_t left_out() const;

  /// True if the next thing to do is reply().
  bool ends_with_user();
  /// What replies are generated with: the options, and what else ends a turn.
  const GenerateOptions& generate_options() const;

  /// The text that the next reply continues. Throws TemplateError.
  std::string prompt();
  /// Positions that the session holds, and has room for.
  std::int64_t position() const;
  std::int64_t capacity() const;

  /// Writes what the session holds; another chat with the same model and options need not compute
  /// it again. Throws FileError, UnsupportedError (as Model::save_session).
  void save_prompt_cache(const std::filesystem::path& path);
  /// Takes what such a file holds, as far as prompts begin the same; the number of positions.
  /// Throws FileError, FormatError (as Model::load_session).
  std::int64_t load_prompt_cache(const std::filesystem::path& path);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoehorn
