#include "chat_flags.h"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "shoehorn/error.h"
#include "shoehorn/tokenizer.h"

namespace shoehorn::cli {
namespace {

/// Errors of `act` name the file that it reads.
template <typename Act>
void naming(const std::string& path, Act act) {
  try {
    act();
  } catch (const FormatError& error) {
    throw FormatError(path + ": " + error.what());
  }
}

}  // namespace

std::string read_small_file(const std::string& path) {
  constexpr std::size_t kMaxBytes = 256U << 20;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw FileError(path, "cannot be opened");
  file.seekg(0, std::ios::end);
  const auto size = file.tellg();
  if (size > static_cast<std::streamoff>(kMaxBytes)) {
    throw FileError(path, "is larger than " + std::to_string(kMaxBytes >> 20) + " MiB");
  }
  file.seekg(0);
  file.clear();
  return {std::istreambuf_iterator<char>(file), {}};
}

void ChatFlags::check() const {
  if (interactive) return;
  const auto refuse = [](bool given, const char* name) {
    if (given) throw ArgumentError(std::string(name) + " is for --chat and -i");
  };
  if (context_shift) throw ArgumentError("--context-shift is for -i");
  if (chat) return;
  refuse(!system.empty(), "--system");
  refuse(!messages_file.empty(), "--messages");
  refuse(!tools_file.empty(), "--tools");
  refuse(!template_file.empty(), "--chat-template");
  refuse(!template_variables.empty(), "--chat-template-kwargs");
}

void add_chat_flags(CLI::App& command, ChatFlags& flags) {
  const std::string group = "Conversations";
  command.add_flag("--chat", flags.chat, "The prompt is a user's message: uses the chat template")
      ->group(group);
  command
      .add_flag("-i,--interactive", flags.interactive,
                "Talks: every line is a message; /help lists commands")
      ->group(group);
  command.add_option("--system", flags.system, "A system message")->group(group);
  command
      .add_option("--messages", flags.messages_file,
                  "JSON: messages to begin with, as /save writes them")
      ->group(group);
  command.add_option("--tools", flags.tools_file, "JSON: tools that the template is given")
      ->group(group);
  command.add_option("--chat-template", flags.template_file, "Another template: a .jinja file")
      ->group(group);
  command
      .add_option("--chat-template-kwargs", flags.template_variables,
                  "JSON: more variables of the template, like {\"enable_thinking\": false}")
      ->group(group);
  command
      .add_option("--prompt-cache", flags.prompt_cache,
                  "A file that keeps what was computed of the prompt for the next run")
      ->group(group);
  command
      .add_flag("--context-shift", flags.context_shift,
                "-i: leaves out the oldest turns where the context is full")
      ->group(group);
}

ChatOptions chat_options(const ChatFlags& flags, const GenerateOptions& generate) {
  ChatOptions options;
  options.generate = generate;
  options.template_variables = flags.template_variables;
  if (!flags.tools_file.empty()) options.tools = read_small_file(flags.tools_file);
  if (!flags.template_file.empty()) options.chat_template = read_small_file(flags.template_file);
  options.context_shift = flags.context_shift;
  return options;
}

void begin_conversation(const ChatFlags& flags, Chat& chat) {
  if (!flags.messages_file.empty()) {
    naming(flags.messages_file,
           [&] { chat.set_conversation(read_small_file(flags.messages_file)); });
  }
  if (!flags.system.empty()) chat.set_system(flags.system);
}

std::vector<std::int32_t> chat_prompt(const ChatFlags& flags, const Model& model,
                                      const std::string& text, GenerateOptions& generate) {
  ChatOptions options = chat_options(flags, generate);
  options.capacity = 1;  // it only renders
  Chat chat(model, std::move(options));
  begin_conversation(flags, chat);
  if (!text.empty()) chat.add_message({.role = "user", .content = text});
  generate = chat.generate_options();
  return model.tokenizer()->encode(chat.prompt(), {.add_special_tokens = false}).ids;
}

bool take_prompt_cache(const std::string& path, const std::function<void()>& load) {
  if (path.empty()) return false;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return true;
  try {
    load();
  } catch (const UnsupportedError& error) {
    // Written with other options: what it holds is of no use, and is replaced.
    std::cerr << "note: " << error.what() << "; it is written anew\n";
  }
  return true;
}

}  // namespace shoehorn::cli
