#include "checkpoint/slow_vocabulary.h"

#include <array>
#include <charconv>
#include <limits>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/json_text.h"
#include "checkpoint/printable.h"
#include "text/json_reader.h"
#include "text/unicode_data.h"
#include "text/utf8.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

/// The next line without its end ("\n" or "\r\n"), false after the last one.
bool next_line(std::string_view& rest, std::string_view& line) {
  if (rest.empty()) return false;
  const std::size_t end = rest.find('\n');
  line = rest.substr(0, end);
  rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  if (end != rest.npos && line.ends_with('\r')) line.remove_suffix(1);
  return true;
}

std::string_view without_white_end(std::string_view line) {
  while (!line.empty()) {
    const std::size_t last = text::previous_character(line, line.size());
    std::size_t length = 0;
    if (!text::is_white(text::decode_utf8(line.data() + last, length))) break;
    line = line.substr(0, last);
  }
  return line;
}

std::shared_ptr<const std::string> read_utf8(const fs::path& path) {
  auto text =
      std::make_shared<const std::string>(read_text_file(path, SlowVocabulary::kMaxFileBytes));
  if (!text::is_valid_utf8(*text)) throw FormatError(path, "not UTF-8");
  return text;
}

std::vector<std::pair<std::string_view, std::string_view>> read_merges(std::string_view text,
                                                                       const fs::path& path) {
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  std::size_t number = 0;
  for (std::string_view line; next_line(text, line);) {
    ++number;
    if (line.empty() || line.starts_with("#version")) continue;
    const std::size_t space = line.find(' ');
    if (space == line.npos || line.find(' ', space + 1) != line.npos) {
      throw FormatError(path, str_cat("line ", number, " (", printable(line),
                                      ") is not two tokens with a space between"));
    }
    if (merges.size() == SlowVocabulary::kMaxTokens) {
      throw FormatError(path, "more than four million merges");
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

}  // namespace

SlowVocabulary SlowVocabulary::from_bpe_files(const fs::path& vocab, const fs::path& merges) {
  SlowVocabulary out;
  const auto vocab_text = read_utf8(vocab);
  const auto merges_text = read_utf8(merges);
  try {
    const auto reader = std::make_shared<text::JsonReader>(*vocab_text);
    out.owners_ = {vocab_text, merges_text, reader};
    reader->expect('{');
    for (bool first = true; reader->next_member(first);) {
      const std::string_view token = reader->view(reader->read_string());
      reader->expect(':');
      const std::int64_t id = reader->read_integer();
      if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) {
        throw FormatError(str_cat("the id of ", printable(token), " is ", id));
      }
      out.add(token, static_cast<std::int32_t>(id), vocab);
    }
    reader->expect_end();
  } catch (const FormatError& error) {
    const std::string what = error.what();
    if (what.starts_with(vocab.string())) throw;
    throw FormatError(vocab, what);
  }
  out.merges = read_merges(*merges_text, merges);
  return out;
}

SlowVocabulary SlowVocabulary::from_lines(const fs::path& vocab) {
  SlowVocabulary out;
  const auto text = read_utf8(vocab);
  out.owners_ = {text};
  std::string_view rest = *text;
  std::int32_t id = 0;
  for (std::string_view line; next_line(rest, line); ++id) {
    out.add(without_white_end(line), id, vocab);
  }
  return out;
}

SlowVocabulary SlowVocabulary::from_list(std::vector<std::string_view> tokens) {
  SlowVocabulary out;
  for (const std::string_view token : tokens) {
    out.add(token, static_cast<std::int32_t>(out.entries_.size()), "");
  }
  return out;
}

void SlowVocabulary::add(std::string_view token, std::int32_t id, const fs::path& path) {
  if (token.size() > kMaxTokenBytes) {
    throw FormatError(path, str_cat("a token of ", token.size(), " bytes; at most ", kMaxTokenBytes,
                                    " are supported"));
  }
  if (entries_.size() == kMaxTokens) throw FormatError(path, "more than four million tokens");
  entries_.emplace_back(token, id);
  ids_[token] = id;
}

std::optional<std::int32_t> SlowVocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

void SlowVocabulary::append_vocab(std::string& out) const {
  const bool list = !scores.empty();
  out += list ? R"("vocab":[)" : R"("vocab":{)";
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (i != 0) out += ',';
    if (list) out += '[';
    append_json_string(out, entries_[i].first);
    out += list ? ',' : ':';
    std::array<char, 40> digits;
    const auto [end, error] =
        list ? std::to_chars(digits.data(), digits.data() + digits.size(), scores[i])
             : std::to_chars(digits.data(), digits.data() + digits.size(), entries_[i].second);
    out.append(digits.data(), end);
    if (list) out += ']';
  }
  out += list ? ']' : '}';
}

void SlowVocabulary::append_merges(std::string& out) const {
  out += R"("merges":[)";
  for (std::size_t i = 0; i < merges.size(); ++i) {
    out += i == 0 ? "[" : ",[";
    append_json_string(out, merges[i].first);
    out += ',';
    append_json_string(out, merges[i].second);
    out += ']';
  }
  out += ']';
}

}  // namespace shoehorn
