// ChatTemplate: compiled templates of a model, and what transformers does around them.
#include "shoehorn/chat_template.h"

#include <algorithm>
#include <ctime>

#include "base/str_cat.h"
#include "text/jinja_print.h"
#include "text/jinja_renderer.h"
#include "text/jinja_strftime.h"
#include "text/jinja_syntax.h"
#include "text/jinja_variables.h"
#include "text/utf8.h"

namespace shoehorn {
namespace {

using jinja::Budget;
using jinja::Dict;
using jinja::Value;

std::string place(const std::string& path, jinja::Location at) {
  return str_cat(path, ":", at.line, ":", at.column);
}

jinja::Program compile(std::string_view source, const std::string& path) {
  if (source.size() > jinja::Limits::kSourceBytes) {
    throw TemplateError(TemplateError::Kind::kLimit, path,
                        str_cat("a template of ", source.size(), " bytes; at most ",
                                jinja::Limits::kSourceBytes, " are supported"));
  }
  const std::string valid =
      text::is_valid_utf8(source) ? std::string(source) : text::utf8_lossy(source);
  try {
    return jinja::parse(valid);
  } catch (const jinja::SyntaxFailure& failure) {
    throw TemplateError(failure.kind, place(path, failure.at), failure.message);
  }
}

std::tm local_time() {
  const std::time_t now = std::time(nullptr);
  std::tm result{};
  ::localtime_r(&now, &result);
  return result;
}

std::string messages_json(const std::vector<ChatMessage>& messages) {
  Budget budget(std::size_t{1} << 32);  // the caller's own messages
  std::vector<Value> list;
  for (const ChatMessage& message : messages) {
    const auto dict = jinja::make<Dict>(budget);
    dict->set(jinja::make_text(budget, "role"),
              jinja::make_text(budget, text::utf8_lossy(message.role)));
    dict->set(jinja::make_text(budget, "content"),
              jinja::make_text(budget, text::utf8_lossy(message.content)));
    list.emplace_back(Value::Kind::kDict, dict.get());
  }
  return jinja::to_json(budget, jinja::make_list(budget, std::move(list)), {});
}

// `members` in front of the members of an object.
std::string prepend_members(const std::string& members, std::string_view object) {
  const std::size_t open = object.find('{');
  if (open == std::string_view::npos) return "{" + members + "}";
  const std::string_view rest = object.substr(open + 1);
  const std::size_t next = rest.find_first_not_of(" \t\r\n");
  const bool empty = next != std::string_view::npos && rest[next] == '}';
  return str_cat("{", members, empty ? "" : ", ", rest);
}

}  // namespace

std::string_view to_string(TemplateError::Kind kind) {
  switch (kind) {
    case TemplateError::Kind::kSyntax: return "syntax";
    case TemplateError::Kind::kRaised: return "raise_exception";
    case TemplateError::Kind::kUndefined: return "undefined";
    case TemplateError::Kind::kRuntime: return "runtime";
    case TemplateError::Kind::kSecurity: return "security";
    case TemplateError::Kind::kLimit: return "limit";
  }
  return "";
}

struct ChatTemplate::Impl {
  struct Named {
    std::string name;
    std::string source;
    std::string path;
    jinja::Program program;
  };

  const Named& find(std::string_view name) const {
    const auto found = std::ranges::find(templates, name, &Named::name);
    if (found != templates.end()) return *found;
    std::string known;
    for (const Named& named : templates) known += str_cat(known.empty() ? "" : ", ", named.name);
    throw ArgumentError(str_cat(path, ": no chat template \"", name, "\"; there are: ", known));
  }

  // The one that the variables ask for, as transformers chooses it.
  const Named& choose(const Dict& variables) const {
    if (const Value* name = variables.find("chat_template"); name != nullptr && name->is_string()) {
      return find(name->text());
    }
    const Value* tools = variables.find("tools");
    const bool has_tools = tools != nullptr && !tools->is_none();
    if (has_tools && std::ranges::find(templates, "tool_use", &Named::name) != templates.end()) {
      return find("tool_use");
    }
    return templates.size() == 1 ? templates.front() : find("default");
  }

  std::string path;
  std::vector<Named> templates;
  std::vector<std::pair<std::string, std::string>> special_tokens;
};

ChatTemplate::ChatTemplate(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

ChatTemplate ChatTemplate::from_source(std::string_view source, const std::filesystem::path& path) {
  return from_sources({{"default", std::string(source)}}, {}, path);
}

ChatTemplate ChatTemplate::from_sources(
    const std::vector<std::pair<std::string, std::string>>& sources,
    std::vector<std::pair<std::string, std::string>> special_tokens,
    const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path.string();
  impl->special_tokens = std::move(special_tokens);
  for (const auto& [name, source] : sources) {
    const std::string where =
        sources.size() == 1 ? impl->path : str_cat(impl->path, " (", name, ")");
    impl->templates.push_back(
        {.name = name, .source = source, .path = where, .program = compile(source, where)});
  }
  if (impl->templates.empty()) throw FormatError(path, "has no chat template");
  return ChatTemplate(std::move(impl));
}

std::string ChatTemplate::render(std::string_view variables_json) const {
  Budget budget(variables_json.size());
  try {
    const Value given = [&] {
      try {
        return jinja::read_json(budget, variables_json);
      } catch (const FormatError& error) {
        throw FormatError(str_cat("template variables: ", error.what()));
      }
    }();
    if (!given.is(Value::Kind::kDict)) {
      throw FormatError("template variables: expected a JSON object");
    }
    const auto variables = jinja::make<Dict>(budget);
    const auto name = [&](std::string_view text) {
      return jinja::make_text(budget, std::string(text));
    };
    for (const auto& [token, text] : impl_->special_tokens) {
      variables->set(name(token), name(text));
    }
    variables->set(name("messages"), jinja::make_list(budget, {}));
    variables->set(name("tools"), {});
    variables->set(name("documents"), {});
    variables->set(name("add_generation_prompt"), Value::boolean(false));
    std::tm now = local_time();
    for (const auto& [key, value] : given.dict().entries) {
      if (key.text() == "now" && value.is_string()) {
        if (!jinja::parse_time(value.text(), now)) {
          throw FormatError("template variables: now: expected a time like 2026-11-22T12:34:56");
        }
      } else if (key.text() == "messages") {
        variables->set(key, jinja::with_reasoning(budget, value));
      } else if (key.text() != "chat_template") {
        variables->set(key, value);
      }
    }
    const Impl::Named& chosen = impl_->choose(given.dict());
    jinja::Renderer renderer(chosen.program, budget, now);
    try {
      return renderer.run(*variables);
    } catch (const jinja::Failure& failure) {
      throw TemplateError(failure.kind, place(chosen.path, renderer.at()), failure.message);
    }
  } catch (const jinja::Failure& failure) {
    throw TemplateError(failure.kind, impl_->path, failure.message);
  }
}

std::string ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                 bool add_generation_prompt,
                                 std::string_view variables_json) const {
  const std::string members =
      str_cat("\"messages\": ", messages_json(messages),
              ", \"add_generation_prompt\": ", add_generation_prompt ? "true" : "false");
  return render(prepend_members(members, variables_json));
}

std::optional<std::string_view> ChatTemplate::special_token(std::string_view name) const {
  for (const auto& [token, text] : impl_->special_tokens) {
    if (token == name) return text;
  }
  return std::nullopt;
}

std::vector<std::string> ChatTemplate::names() const {
  std::vector<std::string> result;
  for (const Impl::Named& named : impl_->templates) result.push_back(named.name);
  return result;
}

std::string_view ChatTemplate::source(std::string_view name) const {
  return impl_->find(name).source;
}

}  // namespace shoehorn
