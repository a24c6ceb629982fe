#include "api/conversation.h"

#include <algorithm>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

using Json = nlohmann::ordered_json;

// The reader of template variables takes as much; what is deeper is refused here, before anything
// recurses into it.
constexpr int kMaxDepth = 100;

Json parse(std::string_view text, std::string_view what) {
  const auto shallow = [what](int depth, Json::parse_event_t /*event*/, Json& /*value*/) {
    if (depth > kMaxDepth) {
      throw FormatError(str_cat(what, ": more than ", kMaxDepth, " levels of nesting"));
    }
    return true;
  };
  try {
    return Json::parse(text, shallow);
  } catch (const Json::exception& error) {
    throw FormatError(str_cat(what, ": ", error.what()));
  }
}

std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

std::string role_of(const Json& message) {
  return message["role"].get<std::string>();
}

bool is_system(const Json& message) {
  return role_of(message) == "system" || role_of(message) == "developer";
}

}  // namespace

std::size_t Conversation::system_messages() const {
  return static_cast<std::size_t>(std::ranges::find_if_not(messages_, is_system) -
                                  messages_.begin());
}

void Conversation::add(const std::string& role, const std::string& content) {
  messages_.push_back({{"role", role}, {"content", content}});
}

bool Conversation::ends_with_user() const {
  return !messages_.empty() && role_of(messages_.back()) == "user";
}

void Conversation::forget_last_user() {
  if (ends_with_user()) messages_.pop_back();
}

void Conversation::set_system(const std::string& text) {
  messages_.erase(messages_.begin(),
                  messages_.begin() + static_cast<std::ptrdiff_t>(system_messages()));
  if (text.empty()) return;
  messages_.insert(messages_.begin(), Json{{"role", "system"}, {"content", text}});
}

void Conversation::clear() {
  messages_.resize(system_messages());
}

void Conversation::set_variables(std::string_view json) {
  Json given = parse(json, "template variables");
  if (!given.is_object()) {
    throw FormatError(
        "template variables: expected a JSON object, like {\"enable_thinking\": false}");
  }
  given_ = std::move(given);
}

void Conversation::set_tools(std::string_view json) {
  Json tools = parse(json, "tools");
  if (tools.is_object() && tools.contains("tools")) tools = Json(tools["tools"]);
  if (!tools.is_array()) throw FormatError("tools: expected a JSON array of tools");
  given_["tools"] = std::move(tools);
}

void Conversation::set(std::string_view json) {
  Json given = parse(json, "conversation");
  if (given.is_array()) given = Json{{"messages", std::move(given)}};
  if (!given.is_object() || !given.contains("messages") || !given["messages"].is_array()) {
    throw FormatError(
        "conversation: expected an array of messages, or an object with \"messages\"");
  }
  std::vector<Json> messages;
  for (Json& message : given["messages"]) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      throw FormatError(str_cat("conversation: message ", messages.size(),
                                ": expected an object with a \"role\""));
    }
    messages.push_back(std::move(message));
  }
  given.erase("messages");
  messages_ = std::move(messages);
  own_ = std::move(given);
}

std::string Conversation::json() const {
  Json json = {{"messages", messages_}};
  json.update(own_);
  return dump(json, 1);
}

std::string Conversation::variables(std::size_t left_out) const {
  Json json = {{"messages", Json::array()}, {"add_generation_prompt", true}};
  json.update(own_);
  json.update(given_);
  const std::size_t system = system_messages();
  Json kept = Json::array();
  for (std::size_t i = 0; i < messages_.size(); ++i) {
    if (i < system || i >= system + left_out) kept.push_back(messages_[i]);
  }
  json["messages"] = std::move(kept);
  return dump(json);
}

std::size_t Conversation::turn_after(std::size_t left_out) const {
  const std::size_t system = system_messages();
  for (std::size_t i = system + left_out + 1; i < messages_.size(); ++i) {
    if (role_of(messages_[i]) == "user") return i - system;
  }
  return left_out;
}

}  // namespace shoehorn
