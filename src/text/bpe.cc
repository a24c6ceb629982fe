// Merging: a scan over the symbols of short pieces, a heap over a linked list for long ones, so
// that a document without spaces takes O(n log n).
#include "text/bpe.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr std::size_t kLongPiece = 48;  // symbols; above, the heap is faster than scanning
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// "<0x0A>" for byte 10.
std::string byte_token(unsigned byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace

BpeModel::BpeModel(TokenizerFile& file)
    : TokenModel(file),
      prefix_(file.model.string_or("continuing_subword_prefix", "")),
      suffix_(file.model.string_or("end_of_word_suffix", "")),
      fuse_unk_(file.model.bool_or("fuse_unk", false)),
      byte_fallback_(file.model.bool_or("byte_fallback", false)),
      ignore_merges_(file.model.bool_or("ignore_merges", false)),
      plain_symbols_(prefix_.empty() && suffix_.empty()),
      merges_(file, vocabulary(), prefix_) {
  if (file.vocab_is_list) throw FormatError("model.vocab: BPE needs an object, found a list");
  if (!file.has_merges) throw FormatError("model.merges: missing");
  const JsonValue& unk = file.model.get("unk_token");
  if (!unk.is_null()) {
    unk_is_named_ = true;
    unk_id_ = vocabulary().find(unk.as_string());
  }
  for (unsigned c = 0; c < 128; ++c) {
    const char character = static_cast<char>(c);
    ascii_ids_[c] = vocabulary().find({&character, 1}).value_or(-1);
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = vocabulary().find(byte_token(byte)).value_or(-1);
  }
  find_cuts(file);
}

// A piece can be cut before U+2581 unless some token has the character before the cut followed by
// U+2581 inside. That holds for symbols that stand for their own text, so merges of the unknown
// token or of byte tokens forbid it, and so does ignore_merges, which asks for whole pieces.
void BpeModel::find_cuts(const TokenizerFile& file) {
  if (!plain_symbols_ || ignore_merges_ || !vocabulary().find(kSpaceMark)) return;
  std::vector<std::int32_t> odd;
  if (unk_id_) odd.push_back(*unk_id_);
  if (byte_fallback_) odd.insert(odd.end(), byte_ids_.begin(), byte_ids_.end());
  std::erase(odd, -1);
  std::sort(odd.begin(), odd.end());
  const std::int32_t last_odd = odd.empty() ? -1 : odd.back();  // mostly the lowest ids
  bool odd_merges = false;
  for (const MergeTable::Merge& merge : merges_.merges()) {
    if (merge.left > last_odd && merge.right > last_odd) continue;
    odd_merges |= std::binary_search(odd.begin(), odd.end(), merge.left) ||
                  std::binary_search(odd.begin(), odd.end(), merge.right);
  }
  if (odd_merges) return;
  for (const auto& entry : file.vocab) {
    const std::string_view token = file.view(entry);
    for (std::size_t at = token.find(kSpaceMark, 1); at != token.npos;
         at = token.find(kSpaceMark, at + 1)) {
      const std::size_t before = previous_character(token, at);
      joins_to_space_.emplace(token.substr(before, at - before));
    }
  }
  can_cut_ = true;
}

std::size_t BpeModel::independent_prefix(std::string_view piece) const {
  if (!can_cut_ || piece.size() < 8) return piece.size();
  for (std::size_t at = piece.find(kSpaceMark, 1); at != piece.npos;
       at = piece.find(kSpaceMark, at + 1)) {
    const std::size_t before = previous_character(piece, at);
    if (joins_to_space_.find(piece.substr(before, at - before)) == joins_to_space_.end()) return at;
  }
  return piece.size();
}

void BpeModel::tokenize(std::string_view piece, ModelScratch& scratch,
                        std::vector<std::int32_t>& ids) const {
  if (ignore_merges_) {
    if (const auto id = vocabulary().find(piece)) {
      ids.push_back(*id);
      return;
    }
  }
  split(piece, scratch);
  if (scratch.symbols.size() > kLongPiece) {
    merge_long(scratch);
  } else {
    merge_short(scratch.symbols);
  }
  for (const ModelScratch::Symbol& symbol : scratch.symbols) {
    if (symbol.id >= 0) ids.push_back(symbol.id);
  }
}

std::optional<std::int32_t> BpeModel::find_symbol(std::string_view character, bool first, bool last,
                                                  std::string& text) const {
  if (plain_symbols_) {
    if (character.size() == 1) {
      const std::int32_t id = ascii_ids_[static_cast<unsigned char>(character[0])];
      return id < 0 ? std::nullopt : std::optional(id);
    }
    return vocabulary().find(character);
  }
  text.clear();
  if (!first) text.append(prefix_);
  text.append(character);
  if (last) text.append(suffix_);
  return vocabulary().find(text);
}

// All byte tokens of `text`, or none at all if one is missing.
bool BpeModel::push_bytes(std::string_view text, ModelScratch& scratch) const {
  for (const char c : text) {
    if (byte_ids_[static_cast<unsigned char>(c)] < 0) return false;
  }
  for (const char c : text) {
    scratch.symbols.push_back(
        {byte_ids_[static_cast<unsigned char>(c)], MergeTable::kNoRank, -1, 0, 0});
  }
  return true;
}

// One symbol a character. Unknown characters wait in `unknown` until a known one follows, so byte
// tokens in between come before them: the library does it so, and models were trained on it.
void BpeModel::split(std::string_view piece, ModelScratch& scratch) const {
  scratch.symbols.clear();
  int unknown = 0;
  const auto flush = [&] {
    for (; unknown > 0; --unknown)
      scratch.symbols.push_back({*unk_id_, MergeTable::kNoRank, -1, 0, 0});
  };
  for (std::size_t begin = 0, end = 0; begin < piece.size(); begin = end) {
    end = begin + sequence_length(piece[begin]);
    const std::string_view character = piece.substr(begin, end - begin);
    const bool first = begin == 0;
    const bool last = end == piece.size();
    if (const auto id = find_symbol(character, first, last, scratch.text)) {
      flush();
      scratch.symbols.push_back({*id, MergeTable::kNoRank, -1, 0, 0});
      continue;
    }
    if (byte_fallback_ && push_bytes(plain_symbols_ ? character : scratch.text, scratch)) continue;
    if (!unk_is_named_) continue;
    if (!unk_id_) throw FormatError("model.unk_token is not in the vocabulary");
    if (!fuse_unk_) flush();
    unknown = 1;
  }
  flush();
}

void BpeModel::link(ModelScratch::Symbol& left, const ModelScratch::Symbol& right) const {
  const MergeTable::Found merge = merges_.find(left.id, right.id);
  left.rank = merge.rank;
  left.merged = merge.id;
}

void BpeModel::merge_short(std::vector<ModelScratch::Symbol>& symbols) const {
  if (symbols.empty()) return;
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) link(symbols[i], symbols[i + 1]);
  symbols.back().rank = MergeTable::kNoRank;
  for (;;) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < symbols.size(); ++i) {
      if (symbols[i].rank < symbols[best].rank) best = i;
    }
    if (symbols[best].rank == MergeTable::kNoRank) return;
    symbols[best].id = symbols[best].merged;
    symbols[best].rank = MergeTable::kNoRank;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    if (best + 1 < symbols.size()) link(symbols[best], symbols[best + 1]);
    if (best > 0) link(symbols[best - 1], symbols[best]);
  }
}

// The heap holds rank << 32 | position. An entry is out of date if its symbol is gone or now has
// another rank.
void BpeModel::merge_long(ModelScratch& scratch) const {
  std::vector<ModelScratch::Symbol>& symbols = scratch.symbols;
  std::vector<std::uint64_t>& heap = scratch.heap;
  const auto count = static_cast<std::uint32_t>(symbols.size());
  constexpr std::uint32_t kEnd = 0xFFFFFFFF;
  heap.clear();
  for (std::uint32_t i = 0; i < count; ++i) {
    symbols[i].previous = i == 0 ? kEnd : i - 1;
    symbols[i].next = i + 1 == count ? kEnd : i + 1;
    if (i + 1 < count) link(symbols[i], symbols[i + 1]);
    if (symbols[i].rank != MergeTable::kNoRank) {
      heap.push_back(static_cast<std::uint64_t>(symbols[i].rank) << 32 | i);
    }
  }
  const auto later = [](std::uint64_t a, std::uint64_t b) { return a > b; };
  std::make_heap(heap.begin(), heap.end(), later);
  const auto relink = [&](std::uint32_t at) {
    ModelScratch::Symbol& symbol = symbols[at];
    symbol.rank = MergeTable::kNoRank;
    if (symbol.next == kEnd) return;
    link(symbol, symbols[symbol.next]);
    if (symbol.rank == MergeTable::kNoRank) return;
    heap.push_back(static_cast<std::uint64_t>(symbol.rank) << 32 | at);
    std::push_heap(heap.begin(), heap.end(), later);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const std::uint64_t top = heap.back();
    heap.pop_back();
    const auto at = static_cast<std::uint32_t>(top);
    ModelScratch::Symbol& left = symbols[at];
    if (left.id < 0 || left.rank != top >> 32) continue;
    ModelScratch::Symbol& right = symbols[left.next];
    left.id = left.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next != kEnd) symbols[left.next].previous = at;
    relink(at);
    if (left.previous != kEnd) relink(left.previous);
  }
}

}  // namespace shoehorn::text
