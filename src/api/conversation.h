// The messages of a conversation and the other variables of its template, as JSON.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace shoehorn {

class Conversation {
 public:
  void add(const std::string& role, const std::string& content);
  /// Takes the last message away if it is the user's.
  void forget_last_user();
  bool ends_with_user() const;
  /// Replaces the system message at the beginning; empty: removes it.
  void set_system(const std::string& text);
  /// All but the system message.
  void clear();
  std::size_t size() const { return messages_.size(); }

  /// Replaces the variables beside the messages by a JSON object's members. Throws FormatError.
  void set_variables(std::string_view json);
  /// The variable "tools": an array, or the "tools" of an object. Throws FormatError.
  void set_tools(std::string_view json);
  /// An array of messages, or an object with "messages" and variables, which are added to those
  /// there are. Throws FormatError.
  void set(std::string_view json);
  /// {"messages": [...]} and the variables that set() was given.
  std::string json() const;

  /// What ChatTemplate::render takes to begin a reply, without `left_out` messages behind the
  /// system message.
  std::string variables(std::size_t left_out) const;
  /// How many messages are left out if one turn more goes than the `left_out` that are gone: up to
  /// the user's next message. The last of these stays: then it is `left_out` itself.
  std::size_t turn_after(std::size_t left_out) const;

 private:
  using Json = nlohmann::ordered_json;
  std::size_t system_messages() const;

  std::vector<Json> messages_;
  Json own_ = Json::object();    // that set() was given
  Json given_ = Json::object();  // that set_variables() was given
};

}  // namespace shoehorn
