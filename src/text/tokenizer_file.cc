// Reading tokenizer.json: a Gemma file has 33 MB and 1.3 million strings.
#include "text/tokenizer_file.h"

#include <algorithm>
#include <limits>

#include "shoehorn/error.h"

#include "base/huge_pages.h"
#include "base/str_cat.h"

namespace shoehorn::text {
namespace {

// Fewest bytes of an entry in the file, to reserve memory once: pages that are not used cost
// nothing.
constexpr std::size_t kVocabEntryBytes = 6;
constexpr std::size_t kMergeBytes = 6;

// Bytes from which on a thread of its own is worth its start.
constexpr std::size_t kLargeVocabulary = 256U << 10;

void check_count(std::size_t count, std::string_view what) {
  if (count > TokenizerLimits::kMaxEntries) {
    throw FormatError(str_cat("model.", what, ": more than ", TokenizerLimits::kMaxEntries,
                              " entries are not supported"));
  }
}

std::size_t expected_count(std::size_t bytes, std::size_t entry_bytes) {
  return std::min(bytes / entry_bytes + 1, TokenizerLimits::kMaxEntries + 1);
}

}  // namespace

TokenizerFile::TokenizerFile(std::string_view json)
    : text_(json), reader_(json), vocab_reader_(json) {
  if (json.size() > TokenizerLimits::kMaxFileBytes) {
    throw FormatError(str_cat("a tokenizer of ", json.size(), " bytes; at most ",
                              TokenizerLimits::kMaxFileBytes, " are supported"));
  }
  read();
}

void TokenizerFile::read() {
  bool found_model = false;
  reader_.expect('{');
  for (bool first = true; reader_.next_member(first);) {
    const std::string key(reader_.view(reader_.read_string()));
    reader_.expect(':');
    if (key == "version") {
      read_version();
    } else if (key == "normalizer") {
      normalizer = reader_.read_value(key);
    } else if (key == "pre_tokenizer") {
      pre_tokenizer = reader_.read_value(key);
    } else if (key == "post_processor") {
      post_processor = reader_.read_value(key);
    } else if (key == "decoder") {
      decoder = reader_.read_value(key);
    } else if (key == "added_tokens") {
      read_added_tokens();
    } else if (key == "model") {
      read_model();
      found_model = true;
    } else {
      reader_.read_value(key);
    }
  }
  finish_vocab();
  reader_.expect_end();
  if (!found_model) throw FormatError("the field \"model\" is missing");
}

void TokenizerFile::read_version() {
  const JsonValue version = reader_.read_value("version");
  if (!version.is_null() && version.as_string() != "1.0") {
    version.fail(str_cat("expected \"1.0\", found \"", version.as_string(), "\""));
  }
}

void TokenizerFile::read_added_tokens() {
  const JsonValue list = reader_.read_value("added_tokens");
  added_tokens.clear();
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
    added_tokens.push_back(std::move(token));
  }
}

void TokenizerFile::read_model() {
  model = JsonValue("model", JsonValue::Kind::kObject);
  reader_.expect('{');
  for (bool first = true; reader_.next_member(first);) {
    std::string key(reader_.view(reader_.read_string()));
    reader_.expect(':');
    if (key == "vocab") {
      read_vocab();
    } else if (key == "merges") {
      read_merges();
    } else {
      JsonValue value = reader_.read_value("model." + key);
      model.mutable_members().emplace_back(std::move(key), std::move(value));
    }
  }
}

TokenizerFile::String TokenizerFile::read_token(JsonReader& reader) {
  const String token = reader.read_string();
  if (token.length > TokenizerLimits::kMaxTokenBytes) {
    throw FormatError(str_cat("model.vocab: a token of ", std::size_t{token.length},
                              " bytes; at most ", TokenizerLimits::kMaxTokenBytes,
                              " are supported"));
  }
  return token;
}

// Another thread reads a large vocabulary, while this one goes on to the merges.
void TokenizerFile::read_vocab() {
  finish_vocab();  // a second list counts in place of the first
  vocab.clear();
  scores.clear();
  vocab_is_list = reader_.peek() == '[';
  if (!vocab_is_list && reader_.peek() != '{') {
    throw FormatError("model.vocab: expected an object or a list");
  }
  vocab_reader_ = JsonReader(text_, reader_.position());
  reader_.skip_nested();
  // A field of our own conversions (checkpoint/slow_sentencepiece.cc), which stands before the
  // list.
  const bool exact = model.bool_or("exact_scores", false);
  const bool large = reader_.position() - vocab_reader_.position() >= kLargeVocabulary;
  vocab_is_read_ = std::async(
      large ? std::launch::async | std::launch::deferred : std::launch::deferred, [this, exact] {
        if (vocab_is_list) {
          read_vocab_list(exact);
        } else {
          read_vocab_object();
        }
        vocabulary_ = Vocabulary(vocab, vocab_reader_);
      });
}

void TokenizerFile::finish_vocab() {
  if (vocab_is_read_.valid()) vocab_is_read_.get();
}

void TokenizerFile::read_vocab_object() {
  reserve_large(vocab, expected_count(vocab_reader_.remaining(), kVocabEntryBytes));
  vocab_reader_.expect('{');
  for (bool first = true; vocab_reader_.next_member(first);) {
    const String token = read_token(vocab_reader_);
    vocab_reader_.expect(':');
    const std::int64_t id = vocab_reader_.read_integer();
    if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
      throw FormatError(str_cat("model.vocab: the id of \"",
                                vocab_reader_.view(token).substr(0, 100), "\" is ", id,
                                ", not a number from 0 to 2147483647"));
    }
    vocab.push_back({token, static_cast<std::int32_t>(id)});
    check_count(vocab.size(), "vocab");
  }
}

void TokenizerFile::read_vocab_list(bool exact) {
  vocab_reader_.expect('[');
  for (bool first = true; vocab_reader_.next_item(first);) {
    vocab_reader_.expect('[');
    const String token = read_token(vocab_reader_);
    vocab_reader_.expect(',');
    scores.push_back(exact ? vocab_reader_.read_exact_double() : vocab_reader_.read_double());
    vocab_reader_.expect(']');
    vocab.push_back({token, static_cast<std::int32_t>(vocab.size())});
    check_count(vocab.size(), "vocab");
  }
}

void TokenizerFile::read_merges() {
  has_merges = true;
  merges.clear();
  reserve_large(merges, expected_count(reader_.remaining(), kMergeBytes));
  if (reader_.peek() != '[') throw FormatError("model.merges: expected a list");
  reader_.expect('[');
  for (bool first = true; reader_.next_item(first);) {
    if (reader_.peek() == '[') {
      reader_.expect('[');
      Merge merge;
      merge.left = read_token(reader_);
      reader_.expect(',');
      merge.right = read_token(reader_);
      reader_.expect(']');
      merges.push_back(merge);
    } else if (reader_.peek() == '"') {
      const String line = reader_.read_string();
      if (view(line).substr(0, 8) != "#version") merges.push_back(split_merge(line));
    } else {
      fail_merge("a string or a pair of strings");
    }
    check_count(merges.size(), "merges");
  }
}

// The older form: "left right".
TokenizerFile::Merge TokenizerFile::split_merge(String line) {
  const std::string_view text = view(line);
  const std::size_t space = text.find(' ');
  if (space == text.npos || text.find(' ', space + 1) != text.npos) {
    fail_merge("one space between two tokens");
  }
  return {reader_.part(line, 0, space), reader_.part(line, space + 1, text.size() - space - 1)};
}

void TokenizerFile::fail_merge(std::string_view expected) const {
  throw FormatError(str_cat("model.merges: entry ", merges.size(), ": expected ", expected));
}

}  // namespace shoehorn::text
