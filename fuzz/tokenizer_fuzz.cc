// Any bytes as a tokenizer.json: refused with an Error, or a tokenizer whose streamed text equals
// its batch text and that gives UTF-8 whatever it is asked. What follows a NUL in the input is a
// text to encode, beside the file itself.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "shoehorn/detokenizer.h"
#include "shoehorn/error.h"
#include "shoehorn/tokenizer.h"

#include "text/utf8.h"

namespace {

using shoehorn::DetokenizerStream;
using shoehorn::Encoding;
using shoehorn::Tokenizer;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_decoding(const Tokenizer& tokenizer, const std::vector<std::int32_t>& ids, bool skip) {
  const std::string text = tokenizer.decode(ids, skip);
  require(shoehorn::text::is_valid_utf8(text));
  DetokenizerStream stream(tokenizer, skip);
  std::string streamed;
  for (const std::int32_t id : ids) {
    const std::string piece = stream.push(id);
    require(shoehorn::text::is_valid_utf8(piece));
    streamed += piece;
  }
  require(streamed + stream.flush() == text);
}

void check_encoding(const Tokenizer& tokenizer, std::string_view text) {
  try {
    const Encoding encoding = tokenizer.encode(text);
    require(encoding.ids.size() == encoding.type_ids.size());
    check_decoding(tokenizer, encoding.ids, false);
    check_decoding(tokenizer, encoding.ids, true);
    tokenizer.encode_pair(text.substr(0, text.size() / 2), text.substr(text.size() / 2),
                          {.add_special_tokens = false, .match_special_tokens = false});
  } catch (const shoehorn::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  try {
    const Tokenizer tokenizer = Tokenizer::from_json(input.substr(0, end), "fuzz.json");
    const std::string_view text = input.substr(std::min(end + 1, size));
    check_encoding(tokenizer, text.substr(0, 2000));
    check_encoding(tokenizer, input.substr(0, 2000));
    check_encoding(tokenizer, " \t<s>Caf\u00e9 e\u0301 12 \u2581a\xC3\x28\n");
    std::vector<std::int32_t> ids;
    for (std::int32_t id = 0; id < 300; ++id) ids.push_back(id % 7 == 3 ? id / 2 : id);
    check_decoding(tokenizer, ids, false);
  } catch (const shoehorn::Error&) {
  }
  return 0;
}
