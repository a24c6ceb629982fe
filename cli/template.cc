// shoehorn template: messages to the prompt that a model was trained on.

#include <iostream>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "shoehorn/chat_template.h"
#include "shoehorn/error.h"

#include "commands.h"

namespace shoehorn::cli {
namespace {

using Json = nlohmann::ordered_json;

struct TemplateFlags {
  std::string model;
  std::string prompt;
  std::string system;
  bool jsonl = false;
  bool no_generation_prompt = false;
};

Json render_line(const ChatTemplate& chat_template, const std::string& line) {
  try {
    return {{"text", chat_template.render(line)}};
  } catch (const TemplateError& error) {
    return {{"error", {{"kind", to_string(error.kind())}, {"message", error.message()}}}};
  } catch (const FormatError& error) {
    return {{"error", {{"kind", "request"}, {"message", error.what()}}}};
  } catch (const ArgumentError& error) {
    return {{"error", {{"kind", "request"}, {"message", error.what()}}}};
  }
}

void run(const TemplateFlags& flags) {
  const ChatTemplate chat_template = load_chat_template(flags.model);
  if (!flags.jsonl) {
    if (flags.prompt.empty() && flags.system.empty()) {
      throw ArgumentError("nothing to render: give -p TEXT, or --jsonl and lines on stdin");
    }
    std::vector<ChatMessage> messages;
    if (!flags.system.empty()) messages.push_back({.role = "system", .content = flags.system});
    if (!flags.prompt.empty()) messages.push_back({.role = "user", .content = flags.prompt});
    std::cout << chat_template.render(messages, !flags.no_generation_prompt);
    return;
  }
  for (std::string line; std::getline(std::cin, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    std::cout
        << render_line(chat_template, line).dump(-1, ' ', false, Json::error_handler_t::replace)
        << '\n';
  }
}

}  // namespace

void add_template(CLI::App& app) {
  auto flags = std::make_shared<TemplateFlags>();
  CLI::App* command = app.add_subcommand(
      "template",
      "Renders a model's chat template\n\n"
      "  shoehorn template MODEL -p \"Hello\"\n"
      "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}' | shoehorn template "
      "MODEL --jsonl");
  command->add_option("MODEL", flags->model, "A model, or a .jinja file")->required();
  command->add_flag("--jsonl", flags->jsonl,
                    "A line of JSON in (messages, tools, any other variable), {\"text\"} or "
                    "{\"error\"} out");
  command->add_option("-p,--prompt", flags->prompt, "One user message; prints the rendered text");
  command->add_option("--system", flags->system, "A system message before it");
  command->add_flag("--no-generation-prompt", flags->no_generation_prompt,
                    "Of -p: nothing that begins a reply");
  command->callback([flags] { run(*flags); });
}

}  // namespace shoehorn::cli
