// The symbol table of a compiled pattern; the instructions are made in regex_compiler.cc.
#include "text/regex_program.h"

#include <algorithm>
#include <map>
#include <string>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/regex_compiler.h"

namespace shoehorn::text {
namespace {

constexpr std::size_t kMaxMembers = 1 << 24;

struct Toggle {
  char32_t at;
  std::size_t set;
};

// Every code point where membership in some set changes.
std::vector<Toggle> toggles_of(const std::vector<CodePointSet>& sets) {
  std::vector<Toggle> toggles;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    for (const auto& range : sets[i].ranges()) {
      toggles.push_back({range.first, i});
      toggles.push_back({range.last + 1, i});
    }
  }
  std::sort(toggles.begin(), toggles.end(),
            [](const Toggle& a, const Toggle& b) { return a.at < b.at; });
  return toggles;
}

}  // namespace

RegexProgram::RegexProgram(std::string_view pattern) {
  RegexCompiler(*this).compile(parse_regex(pattern));
}

void RegexProgram::build_symbols(const std::vector<CodePointSet>& sets) {
  const std::vector<Toggle> toggles = toggles_of(sets);
  std::map<std::string, std::uint16_t> known;  // membership in each set -> symbol
  std::string membership(sets.size(), '\0');
  symbol_index_.assign((kMaxCodePoint >> 8) + 1, 0);
  std::vector<std::uint16_t> block(256);
  std::map<std::vector<std::uint16_t>, std::uint32_t> blocks;
  const auto offset_of_block = [&] {
    const auto [entry, added] =
        blocks.try_emplace(block, static_cast<std::uint32_t>(symbols_.size()));
    if (added) symbols_.insert(symbols_.end(), block.begin(), block.end());
    return entry->second;
  };
  std::size_t next = 0;
  char32_t c = 0;
  while (c <= kMaxCodePoint) {
    for (; next < toggles.size() && toggles[next].at <= c; ++next)
      membership[toggles[next].set] ^= 1;
    const auto [entry, added] =
        known.try_emplace(membership, static_cast<std::uint16_t>(known.size()));
    if (known.size() * std::max<std::size_t>(sets.size(), 1) > kMaxMembers ||
        known.size() > 0xFFFF) {
      throw FormatError(str_cat("a regular expression with ", sets.size(),
                                " different character sets is more than we support"));
    }
    // Fill up to the next change, block by block.
    const char32_t end = next < toggles.size() ? toggles[next].at : kMaxCodePoint + 1;
    while (c < end) {
      if ((c & 255) == 0 && end - c >= 256) {
        // Most blocks have but one symbol: one look-up for all of them in a row.
        std::fill(block.begin(), block.end(), entry->second);
        const std::uint32_t offset = offset_of_block();
        for (; end - c >= 256; c += 256) symbol_index_[c >> 8] = offset;
        continue;
      }
      const char32_t stop = std::min<char32_t>(end, (c | 255) + 1);
      std::fill(block.begin() + (c & 255), block.begin() + ((stop - 1) & 255) + 1, entry->second);
      if ((stop & 255) == 0) symbol_index_[(stop - 1) >> 8] = offset_of_block();
      c = stop;
    }
  }
  symbol_count_ = known.size();
  members_.assign(sets.size() * symbol_count_, 0);
  for (const auto& [bits, symbol] : known) {
    for (std::size_t set = 0; set < sets.size(); ++set) {
      members_[set * symbol_count_ + symbol] = static_cast<std::uint8_t>(bits[set]);
    }
  }
  for (char32_t i = 0; i < 128; ++i) ascii_[i] = symbols_[symbol_index_[0] + i];
}

}  // namespace shoehorn::text
