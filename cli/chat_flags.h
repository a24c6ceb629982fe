// What `run` is told of a conversation, and the conversation made of it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "shoehorn/chat.h"

namespace shoehorn::cli {

struct ChatFlags {
  bool chat = false;
  bool interactive = false;
  std::string system;
  std::string messages_file;
  std::string tools_file;
  std::string template_file;       // --chat-template
  std::string template_variables;  // --chat-template-kwargs: JSON
  std::string prompt_cache;
  bool context_shift = false;

  /// Throws ArgumentError for options that have no effect without --chat or -i.
  void check() const;
};

void add_chat_flags(CLI::App& command, ChatFlags& flags);

/// Throws FileError, FormatError.
ChatOptions chat_options(const ChatFlags& flags, const GenerateOptions& generate);

/// The system message and --messages. Throws FileError, FormatError.
void begin_conversation(const ChatFlags& flags, Chat& chat);

/// What the model continues where `text` is the user's next message, and how: the options with what
/// ends a turn. Throws what Chat throws.
std::vector<std::int32_t> chat_prompt(const ChatFlags& flags, const Model& model,
                                      const std::string& text, GenerateOptions& generate);

/// Talks with the person at the terminal, or answers the lines of stdin one by one, until the input
/// ends; first of all the user's `messages`. `on_stats` may be empty; else it is told what every
/// reply took.
void chat_with(const ChatFlags& flags, Chat& chat, const std::vector<std::string>& messages,
               const std::function<void(const RunStats&)>& on_stats);

/// Calls `load` where the prompt cache `path` is there; a cache of another model or other options
/// is a note. True if it is to be written afterwards, false where `path` is empty.
bool take_prompt_cache(const std::string& path, const std::function<void()>& load);

/// The whole of a small file. Throws FileError.
std::string read_small_file(const std::string& path);

}  // namespace shoehorn::cli
