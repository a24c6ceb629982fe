// Reads tokenizer.json with simdjson's DOM: a Gemma file has 33 MB and 1.3 million strings.
#include "text/tokenizer_file.h"

#include <cmath>
#include <limits>

#include <simdjson.h>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/utf8.h"

namespace shoehorn::text {

namespace dom = simdjson::dom;

struct TokenizerFile::Document {
  dom::parser parser{TokenizerLimits::kMaxFileBytes};
  simdjson::padded_string text;
};

class TokenizerFile::Reader {
 public:
  explicit Reader(TokenizerFile& file) : file_(file) {}

  void read(const dom::element& root) {
    dom::object object;
    if (root.get(object) != simdjson::SUCCESS) throw FormatError("expected a JSON object");
    dom::element model;
    bool found_model = false;
    for (const auto& [key, value] : object) {
      if (key == "version") {
        std::string_view version;
        if (!value.is_null() && (value.get(version) != simdjson::SUCCESS || version != "1.0")) {
          throw FormatError("version: expected \"1.0\"");
        }
      } else if (key == "normalizer") {
        file_.normalizer = to_value(value, "normalizer", 0);
      } else if (key == "pre_tokenizer") {
        file_.pre_tokenizer = to_value(value, "pre_tokenizer", 0);
      } else if (key == "post_processor") {
        file_.post_processor = to_value(value, "post_processor", 0);
      } else if (key == "decoder") {
        file_.decoder = to_value(value, "decoder", 0);
      } else if (key == "added_tokens") {
        read_added_tokens(value);
      } else if (key == "model") {
        model = value;
        found_model = true;
      }
    }
    if (!found_model) throw FormatError("the field \"model\" is missing");
    read_model(model);
  }

 private:
  // Small parts only: a tree of owned values.
  JsonValue to_value(const dom::element& element, const std::string& place, std::size_t depth) {
    using Kind = JsonValue::Kind;
    if (depth > TokenizerLimits::kMaxDepth) throw FormatError(place + ": nested too deeply");
    if (++values_ > TokenizerLimits::kMaxEntries) throw FormatError(place + ": too many values");
    switch (element.type()) {
      case dom::element_type::NULL_VALUE: return JsonValue(place, Kind::kNull);
      case dom::element_type::BOOL: {
        JsonValue value(place, Kind::kBool);
        value.set_bool(element.get_bool().value_unsafe());
        return value;
      }
      case dom::element_type::INT64: {
        JsonValue value(place, Kind::kInteger);
        value.set_integer(element.get_int64().value_unsafe());
        return value;
      }
      case dom::element_type::UINT64:  // only above the range of int64
      case dom::element_type::DOUBLE: {
        JsonValue value(place, Kind::kDouble);
        value.set_double(element.get_double().value_unsafe());
        return value;
      }
      case dom::element_type::STRING: {
        JsonValue value(place, Kind::kString);
        value.set_string(checked_string(element, place));
        return value;
      }
      case dom::element_type::ARRAY: {
        JsonValue value(place, Kind::kArray);
        std::size_t i = 0;
        const dom::array array = element.get_array().value_unsafe();
        for (const dom::element item : array) {
          value.mutable_items().push_back(to_value(item, str_cat(place, "[", i++, "]"), depth + 1));
        }
        return value;
      }
      case dom::element_type::OBJECT: {
        JsonValue value(place, Kind::kObject);
        const dom::object object = element.get_object().value_unsafe();
        for (const auto& [key, member] : object) {
          if (!is_valid_utf8(key)) throw FormatError(place + ": a key that is not UTF-8");
          value.mutable_members().emplace_back(
              std::string(key), to_value(member, place + "." + std::string(key), depth + 1));
        }
        return value;
      }
    }
    throw FormatError(place + ": unknown JSON type");
  }

  // simdjson lets a lone low surrogate pass: such a string is not UTF-8.
  static std::string_view checked_string(const dom::element& element, const std::string& place) {
    std::string_view text;
    if (element.get(text) != simdjson::SUCCESS) throw FormatError(place + ": expected a string");
    if (!is_valid_utf8(text)) throw FormatError(place + ": a string with half a surrogate pair");
    return text;
  }

  void read_added_tokens(const dom::element& element) {
    const JsonValue list = to_value(element, "added_tokens", 0);
    if (list.is_null()) return;
    for (const JsonValue& item : list.items()) {
      AddedToken token;
      token.content = item.at("content").as_string();
      if (token.content.size() > TokenizerLimits::kMaxTokenBytes) item.fail("a token too long");
      if (item.has("id")) token.id = item.get("id").as_integer();
      token.special = item.bool_or("special", false);
      token.normalized = item.bool_or("normalized", !token.special);
      token.lstrip = item.bool_or("lstrip", false);
      token.rstrip = item.bool_or("rstrip", false);
      token.single_word = item.bool_or("single_word", false);
      file_.added_tokens.push_back(std::move(token));
    }
  }

  void read_model(const dom::element& element) {
    dom::object object;
    if (element.get(object) != simdjson::SUCCESS) throw FormatError("model: expected an object");
    file_.model = JsonValue("model", JsonValue::Kind::kObject);
    for (const auto& [key, value] : object) {
      if (key == "vocab") {
        read_vocab(value);
      } else if (key == "merges") {
        read_merges(value);
      } else {
        file_.model.mutable_members().emplace_back(std::string(key),
                                                   to_value(value, str_cat("model.", key), 1));
      }
    }
  }

  static void check_token(std::string_view token) {
    if (token.size() > TokenizerLimits::kMaxTokenBytes) {
      throw FormatError(str_cat("model.vocab: a token of ", token.size(), " bytes; at most ",
                                TokenizerLimits::kMaxTokenBytes, " are supported"));
    }
  }

  void check_count(std::size_t count, std::string_view what) const {
    if (count > TokenizerLimits::kMaxEntries) {
      throw FormatError(str_cat("model.", what, ": more than ", TokenizerLimits::kMaxEntries,
                                " entries are not supported"));
    }
  }

  void read_vocab(const dom::element& element) {
    file_.vocab.clear();
    dom::object object;
    dom::array array;
    if (element.get(object) == simdjson::SUCCESS) {
      file_.vocab.reserve(std::min(object.size(), TokenizerLimits::kMaxEntries));
      for (const auto& [token, value] : object) {
        std::int64_t id;
        if (value.get(id) != simdjson::SUCCESS || id < 0 ||
            id > std::numeric_limits<std::int32_t>::max()) {
          throw FormatError(str_cat("model.vocab: the id of \"", utf8_lossy(token.substr(0, 100)),
                                    "\" is not a number from 0 to 2147483647"));
        }
        check_token(token);
        file_.vocab.push_back({token, static_cast<std::int32_t>(id), 0});
        check_count(file_.vocab.size(), "vocab");
      }
    } else if (element.get(array) == simdjson::SUCCESS) {
      file_.vocab_is_list = true;
      for (const dom::element item : array) read_scored_entry(item);
    } else {
      throw FormatError("model.vocab: expected an object or a list");
    }
  }

  void read_scored_entry(const dom::element& item) {
    const auto index = static_cast<std::int32_t>(file_.vocab.size());
    dom::array pair;
    std::string_view token;
    double score;
    if (item.get(pair) != simdjson::SUCCESS || pair.size() != 2 ||
        pair.at(0).get(token) != simdjson::SUCCESS || pair.at(1).get(score) != simdjson::SUCCESS ||
        !std::isfinite(score)) {
      throw FormatError(str_cat("model.vocab[", index, "]: expected a token and a finite score"));
    }
    check_token(token);
    file_.vocab.push_back({token, index, score});
    check_count(file_.vocab.size(), "vocab");
  }

  void read_merges(const dom::element& element) {
    dom::array array;
    if (element.get(array) != simdjson::SUCCESS) throw FormatError("model.merges: expected a list");
    file_.has_merges = true;
    file_.merges.clear();
    for (const dom::element item : array) {
      std::string_view line;
      dom::array pair;
      if (item.get(line) == simdjson::SUCCESS) {
        if (line.substr(0, 8) == "#version") continue;
        const std::size_t space = line.find(' ');
        if (space == std::string_view::npos || line.find(' ', space + 1) != line.npos) {
          fail_merge("one space between two tokens");
        }
        file_.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
      } else if (item.get(pair) == simdjson::SUCCESS) {
        std::string_view parts[2];
        std::size_t count = 0;
        for (const dom::element part : pair) {
          if (count == 2 || part.get(parts[count]) != simdjson::SUCCESS) count = 3;
          if (++count > 2) break;
        }
        if (count != 2) fail_merge("a pair of strings");
        file_.merges.emplace_back(parts[0], parts[1]);
      } else {
        fail_merge("a string or a pair of strings");
      }
      check_count(file_.merges.size(), "merges");
    }
  }

  [[noreturn]] void fail_merge(std::string_view expected) const {
    throw FormatError(
        str_cat("model.merges: entry after ", file_.merges.size(), ": expected ", expected));
  }

  TokenizerFile& file_;
  std::size_t values_ = 0;
};

TokenizerFile::TokenizerFile(std::string_view json) : document_(std::make_unique<Document>()) {
  if (json.size() > TokenizerLimits::kMaxFileBytes) {
    throw FormatError(str_cat("a tokenizer of ", json.size(), " bytes; at most ",
                              TokenizerLimits::kMaxFileBytes, " are supported"));
  }
  document_->text = simdjson::padded_string(json);
  dom::parser& parser = document_->parser;
  auto error = parser.allocate(json.size(), TokenizerLimits::kMaxDepth + 2);
  dom::element root;
  if (error == simdjson::SUCCESS) error = parser.parse(document_->text).get(root);
  if (error != simdjson::SUCCESS) {
    throw FormatError(str_cat("not valid JSON: ", simdjson::error_message(error)));
  }
  Reader(*this).read(root);
}

TokenizerFile::~TokenizerFile() = default;

}  // namespace shoehorn::text
