#include "text/token_bytes.h"

#include <charconv>
#include <string_view>

#include "text/byte_level.h"

namespace shoehorn {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

/// The byte of "<0xE2>".
std::optional<std::string> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with(">")) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(token.data() + 3, token.data() + 5, value, 16);
  if (error != std::errc() || end != token.data() + 5) return std::nullopt;
  return std::string(1, static_cast<char>(value));
}

/// Behind a word, so that nothing is stripped as the beginning of a text is.
class Prober {
 public:
  explicit Prober(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
    const Encoding word = tokenizer.encode("a", {.add_special_tokens = false});
    if (!word.ids.empty()) ids_ = word.ids;
    alone_ = tokenizer.decode(ids_);
    ids_.push_back(0);
  }

  std::optional<std::string> bytes(std::int32_t id) {
    const auto token = tokenizer_.id_to_token(id);
    if (!token || tokenizer_.is_special(id)) return std::nullopt;
    ids_.back() = id;
    const std::string text = tokenizer_.decode(ids_);
    if (!text.starts_with(alone_)) return std::nullopt;
    std::string added = text.substr(alone_.size());
    const bool broken = added.find(kReplacement) != std::string::npos &&
                        token->find(kReplacement) == std::string_view::npos;
    if (!broken) return added;
    // Part of a character: its bytes are written in the token itself.
    if (auto byte = fallback_byte(*token)) return byte;
    std::string decoded;
    if (text::append_byte_level_decoded(decoded, *token)) return decoded;
    return std::nullopt;
  }

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> ids_;
  std::string alone_;
};

}  // namespace

std::vector<std::optional<std::string>> token_bytes(const Tokenizer& tokenizer,
                                                    std::int64_t count) {
  Prober prober(tokenizer);
  std::vector<std::optional<std::string>> all;
  all.reserve(static_cast<std::size_t>(count));
  for (std::int64_t id = 0; id < count; ++id) {
    all.push_back(prober.bytes(static_cast<std::int32_t>(id)));
  }
  return all;
}

}  // namespace shoehorn
