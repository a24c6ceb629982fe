#include "generate/json_schema.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

using Json = nlohmann::ordered_json;  // properties keep their order

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxSchemaBytes = std::size_t{1} << 18;
constexpr std::size_t kMaxGrammarBytes = std::size_t{1} << 20;
constexpr std::int64_t kMaxCount = 1000;

constexpr std::array<std::string_view, 14> kAnnotations = {
    "title", "description", "default",  "examples",  "$schema",    "$id",     "$comment",
    "$defs", "definitions", "readOnly", "writeOnly", "deprecated", "$anchor", "example"};

constexpr std::string_view kBasics = R"gbnf(
ws ::= | " " | "\n" [ \t]{0,20}
value ::= object | array | string | number | boolean | null
object ::= "{" ws (member ("," ws member)*)? "}" ws
member ::= string ":" ws value
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" char* "\"" ws
char ::= [^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})
integral ::= "0" | [1-9] [0-9]{0,15}
number ::= "-"? integral ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})? ws
integer ::= "-"? integral ws
boolean ::= ("true" | "false") ws
null ::= "null" ws
date ::= [0-9]{4} "-" ("0" [1-9] | "1" [0-2]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])
time ::= ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])
uuid ::= [0-9a-fA-F]{8} ("-" [0-9a-fA-F]{4}){3} "-" [0-9a-fA-F]{12}
)gbnf";

const std::string kNothing = "\"\"";  // the literal that matches at once

/// A GBNF literal.
std::string gbnf_literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default: out += c;
    }
  }
  return out + "\"";
}

std::string json_literal(const Json& value) {
  return gbnf_literal(value.dump(-1, ' ', false, Json::error_handler_t::replace)) + " ws";
}

class Converter {
 public:
  explicit Converter(const Json& root) : root_(root) {}

  std::string convert() {
    const std::string root = rule_of(root_, "", 0);
    return str_cat("root ::= ws ", root, "\n", rules_, kBasics);
  }

 private:
  /// The name of a rule for the schema at `path`.
  std::string rule_of(const Json& schema, const std::string& path, int depth) {
    if (depth > kMaxDepth) fail(path, str_cat("is nested deeper than ", kMaxDepth));
    if (schema.is_boolean()) {
      if (schema.get<bool>()) return "value";
      fail(path, "false accepts no value");
    }
    if (!schema.is_object()) fail(path, "a schema must be an object, true or false");
    return define(body_of(schema, path, depth));
  }

  std::string define(const std::string& body) {
    // The same body is the same rule, so that what refers to itself in many places stays small.
    const auto [found, is_new] = names_.try_emplace(body, str_cat("s", names_.size()));
    if (is_new) add_rule(found->second, body);
    return found->second;
  }
  void add_rule(const std::string& name, const std::string& body) {
    rules_ += str_cat(name, " ::= ", body, "\n");
    if (rules_.size() > kMaxGrammarBytes) throw UnsupportedError("the JSON schema is too large");
  }

  std::string body_of(const Json& schema, const std::string& path, int depth) {
    if (const Json* ref = find(schema, "$ref")) {
      require_known(schema, path, {"$ref"});
      return reference(*ref, path, depth);
    }
    if (const Json* value = find(schema, "const")) {
      require_known(schema, path, {"const", "type"});
      return json_literal(*value);
    }
    if (const Json* values = find(schema, "enum")) {
      require_known(schema, path, {"enum", "type"});
      return enumeration(*values, path);
    }
    for (const char* key : {"anyOf", "oneOf"}) {
      if (const Json* choices = find(schema, key)) {
        require_known(schema, path, {key});
        return alternatives(*choices, str_cat(path, "/", key), depth);
      }
    }
    const Json* type = find(schema, "type");
    if (type == nullptr) return typed(implied_type(schema), schema, path, depth);
    if (type->is_string()) return typed(type->get<std::string>(), schema, path, depth);
    if (!type->is_array() || type->empty()) fail(path, "type must be a name or a list of names");
    std::string body;
    for (const Json& one : *type) {
      if (!one.is_string()) fail(path, "type must be a name or a list of names");
      Json narrowed = schema;
      narrowed["type"] = one;
      keep_for_type(narrowed, one.get<std::string>());
      body += (body.empty() ? "" : " | ") + rule_of(narrowed, path, depth + 1);
    }
    return body;
  }

  /// Of the keywords in a schema for several types, those about one.
  static void keep_for_type(Json& schema, const std::string& type) {
    const auto drop = [&](const char* of, std::initializer_list<const char*> keys) {
      if (type == of) return;
      for (const char* key : keys) schema.erase(key);
    };
    drop("object", {"properties", "required", "additionalProperties"});
    drop("array", {"items", "prefixItems", "minItems", "maxItems"});
    drop("string", {"minLength", "maxLength", "format"});
  }

  static std::string implied_type(const Json& schema) {
    for (const char* key : {"properties", "required", "additionalProperties"}) {
      if (schema.contains(key)) return "object";
    }
    for (const char* key : {"items", "prefixItems", "minItems", "maxItems"}) {
      if (schema.contains(key)) return "array";
    }
    for (const char* key : {"minLength", "maxLength", "format"}) {
      if (schema.contains(key)) return "string";
    }
    return "value";
  }

  std::string typed(const std::string& type, const Json& schema, const std::string& path,
                    int depth) {
    if (type == "object") {
      require_known(schema, path, {"type", "properties", "required", "additionalProperties"});
      return object(schema, path, depth);
    }
    if (type == "array") {
      require_known(schema, path, {"type", "items", "prefixItems", "minItems", "maxItems"});
      return array(schema, path, depth);
    }
    if (type == "string") {
      require_known(schema, path, {"type", "minLength", "maxLength", "format"});
      return string(schema, path);
    }
    require_known(schema, path, {"type"});
    for (const char* known : {"value", "number", "integer", "boolean", "null"}) {
      if (type == known) return type;
    }
    fail(path, str_cat("the type ", type, " is unknown"));
  }

  // Objects: the named properties in order, those that are not required left out at will.

  std::string object(const Json& schema, const std::string& path, int depth) {
    std::set<std::string> required;
    if (const Json* names = find(schema, "required")) {
      if (!names->is_array()) fail(path, "required must be a list of names");
      for (const Json& name : *names) {
        if (!name.is_string()) fail(path, "required must be a list of names");
        required.insert(name.get<std::string>());
      }
    }
    struct Member {
      std::string text;
      bool required;
    };
    std::vector<Member> members;
    if (const Json* properties = find(schema, "properties")) {
      if (!properties->is_object()) fail(path, "properties must be an object");
      for (const auto& [name, value] : properties->items()) {
        const std::string rule = rule_of(value, str_cat(path, "/properties/", name), depth + 1);
        members.push_back({str_cat(gbnf_literal(Json(name).dump()), " \":\" ws ", rule),
                           required.erase(name) > 0});
      }
    }
    const std::string others = additional(schema, path, depth);
    if (!required.empty() && others.empty()) {
      fail(path, str_cat("requires ", *required.begin(), ", which is no property"));
    }
    if (!required.empty()) {
      throw UnsupportedError(str_cat("JSON schema ", at(path), "requires ", *required.begin(),
                                     ", which properties do not describe"));
    }
    // From the last member to the first: what may follow after nothing, and after a member.
    std::string first =
        others.empty() ? kNothing : define(str_cat("(", others, " (\",\" ws ", others, ")*)?"));
    std::string later = others.empty() ? kNothing : define(str_cat("(\",\" ws ", others, ")*"));
    for (std::size_t i = members.size(); i-- > 0;) {
      const Member& member = members[i];
      const std::string begins = str_cat(member.text, " ", later);
      const std::string follows = str_cat("\",\" ws ", member.text, " ", later);
      first = define(member.required ? begins : str_cat(begins, " | ", first));
      later = define(member.required ? follows : str_cat(follows, " | ", later));
    }
    return str_cat("\"{\" ws ", first, " \"}\" ws");
  }

  /// A member beyond the named ones; empty: there may be none.
  std::string additional(const Json& schema, const std::string& path, int depth) {
    const Json* more = find(schema, "additionalProperties");
    if (more == nullptr) {
      const bool open = !schema.contains("properties");  // {"type": "object"} is any object
      return open ? "member" : "";
    }
    if (more->is_boolean()) return more->get<bool>() ? "member" : "";
    return define(
        str_cat("string \":\" ws ", rule_of(*more, path + "/additionalProperties", depth + 1)));
  }

  std::string array(const Json& schema, const std::string& path, int depth) {
    const std::int64_t least = count(schema, "minItems", path, 0);
    const std::int64_t most = count(schema, "maxItems", path, -1);
    if (const Json* items = find(schema, "prefixItems")) {
      if (!items->is_array() || schema.contains("minItems") || schema.contains("maxItems") ||
          (schema.contains("items") && schema["items"] != false)) {
        throw UnsupportedError(str_cat("JSON schema ", at(path),
                                       "prefixItems beside items, minItems or maxItems is not "
                                       "known"));
      }
      std::string body = "\"[\" ws";
      for (std::size_t i = 0; i < items->size(); ++i) {
        body += str_cat(i > 0 ? " \",\" ws " : " ",
                        rule_of((*items)[i], str_cat(path, "/prefixItems/", i), depth + 1));
      }
      return body + " \"]\" ws";
    }
    const Json* items = find(schema, "items");
    const std::string item =
        items == nullptr ? "value" : rule_of(*items, path + "/items", depth + 1);
    if (most >= 0 && most < least) fail(path, "maxItems is below minItems");
    if (most == 0) return "\"[\" ws \"]\" ws";
    const std::string upper = most < 0 ? "" : str_cat(most - 1);
    const std::string list = str_cat(item, " (\",\" ws ", item, "){",
                                     std::max<std::int64_t>(least - 1, 0), ",", upper, "}");
    return str_cat("\"[\" ws ", least > 0 ? list : str_cat("(", list, ")?"), " \"]\" ws");
  }

  std::string string(const Json& schema, const std::string& path) {
    const bool bounded = schema.contains("minLength") || schema.contains("maxLength");
    if (const Json* format = find(schema, "format")) {
      const std::string name = format->is_string() ? format->get<std::string>() : format->dump();
      if (bounded) {
        throw UnsupportedError(
            str_cat("JSON schema ", at(path), "format beside minLength or maxLength is not known"));
      }
      if (name == "date-time") return R"("\"" date "T" time "\"" ws)";
      if (name == "date" || name == "time" || name == "uuid") {
        return str_cat(R"("\"" )", name, R"( "\"" ws)");
      }
      throw UnsupportedError(str_cat("JSON schema ", at(path), "the format ", name,
                                     " is not known; known are date, time, date-time, uuid"));
    }
    if (!bounded) return "string";
    const std::int64_t least = count(schema, "minLength", path, 0);
    const std::int64_t most = count(schema, "maxLength", path, -1);
    if (most >= 0 && most < least) fail(path, "maxLength is below minLength");
    return str_cat(R"("\"" char{)", least, ",", most < 0 ? "" : str_cat(most), R"(} "\"" ws)");
  }

  std::string enumeration(const Json& values, const std::string& path) {
    if (!values.is_array() || values.empty()) fail(path, "enum must be a list that is not empty");
    std::string body;
    for (const Json& value : values) body += (body.empty() ? "" : " | ") + json_literal(value);
    return body;
  }

  std::string alternatives(const Json& choices, const std::string& path, int depth) {
    if (!choices.is_array() || choices.empty()) fail(path, "must be a list that is not empty");
    std::string body;
    for (std::size_t i = 0; i < choices.size(); ++i) {
      body += (body.empty() ? "" : " | ") + rule_of(choices[i], str_cat(path, "/", i), depth + 1);
    }
    return body;
  }

  /// "#", "#/$defs/node": a rule of its own, so that schemas may refer to themselves.
  std::string reference(const Json& ref, const std::string& path, int depth) {
    if (!ref.is_string() || !ref.get<std::string>().starts_with('#')) {
      throw UnsupportedError(str_cat("JSON schema ", at(path), "$ref ", ref.dump(),
                                     " does not lie in the same schema"));
    }
    const std::string pointer = ref.get<std::string>().substr(1);
    const auto known = references_.find(pointer);
    if (known != references_.end()) return known->second;
    const Json* target = nullptr;
    try {
      target = &root_.at(Json::json_pointer(pointer));
    } catch (const Json::exception&) {
      fail(path, str_cat("$ref #", pointer, " names nothing"));
    }
    const std::string name = str_cat("r", references_.size());
    references_.emplace(pointer, name);
    add_rule(name, rule_of(*target, pointer, depth + 1));
    return name;
  }

  // Keywords.

  static const Json* find(const Json& schema, const char* key) {
    const auto found = schema.find(key);
    return found == schema.end() ? nullptr : &*found;
  }
  void require_known(const Json& schema, const std::string& path,
                     std::initializer_list<std::string_view> known) const {
    for (const auto& [key, value] : schema.items()) {
      if (std::ranges::find(known, key) != known.end()) continue;
      if (std::ranges::find(kAnnotations, key) != kAnnotations.end()) continue;
      throw UnsupportedError(str_cat("JSON schema ", at(path), key, " is not known here"));
    }
  }
  std::int64_t count(const Json& schema, const char* key, const std::string& path,
                     std::int64_t otherwise) const {
    const Json* value = find(schema, key);
    if (value == nullptr) return otherwise;
    if (!value->is_number_unsigned() || *value > kMaxCount) {
      fail(path, str_cat(key, " must be a number from 0 to ", kMaxCount));
    }
    return value->get<std::int64_t>();
  }
  static std::string at(const std::string& path) {
    return path.empty() ? "" : str_cat("at ", path, ": ");
  }
  [[noreturn]] static void fail(const std::string& path, const std::string& what) {
    throw FormatError(str_cat("JSON schema ", at(path), what));
  }

  const Json& root_;
  std::map<std::string, std::string> names_;       // of rules by their bodies
  std::map<std::string, std::string> references_;  // of rules by JSON pointer
  std::string rules_;
};

}  // namespace

std::string json_schema_gbnf(std::string_view schema) {
  if (schema.size() > kMaxSchemaBytes) {
    throw UnsupportedError(str_cat("a JSON schema has at most ", kMaxSchemaBytes, " bytes"));
  }
  Json root;
  try {
    root = Json::parse(schema);
  } catch (const Json::exception& error) {
    throw FormatError(str_cat("JSON schema is not JSON: ", error.what()));
  }
  return Converter(root).convert();
}

}  // namespace shoehorn
