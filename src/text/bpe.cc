// Merging: a scan over the symbols of short pieces, a heap over a linked list for long ones, so
// that a document without spaces takes O(n log n).
#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/hash.h"
#include "text/utf8.h"

namespace shoehorn::text {
namespace {

constexpr std::int32_t kMaxId = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kLongPiece = 48;  // symbols; above, the heap is faster than scanning
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// "<0x0A>" for byte 10.
std::string byte_token(unsigned byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

// Ids are not negative.
std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

std::string shown(std::string_view token) {
  return utf8_lossy(token.substr(0, 100));
}

}  // namespace

BpeModel::BpeModel(const TokenizerFile& file)
    : TokenModel(file),
      prefix_(file.model.string_or("continuing_subword_prefix", "")),
      suffix_(file.model.string_or("end_of_word_suffix", "")),
      fuse_unk_(file.model.bool_or("fuse_unk", false)),
      byte_fallback_(file.model.bool_or("byte_fallback", false)),
      ignore_merges_(file.model.bool_or("ignore_merges", false)),
      plain_symbols_(prefix_.empty() && suffix_.empty()) {
  if (file.vocab_is_list) throw FormatError("model.vocab: BPE needs an object, found a list");
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
  read_merges(file);
  find_cuts(file);
}

void BpeModel::read_merges(const TokenizerFile& file) {
  if (!file.has_merges) throw FormatError("model.merges: missing");
  merges_.assign(std::bit_ceil(2 * file.merges.size() + 2), Merge{0, kNoRank, -1});
  std::int32_t last = 0;
  for (std::size_t begin = 0; begin < file.merges.size(); begin += kMergeBatch) {
    last = read_merge_batch(file, begin, std::min(begin + kMergeBatch, file.merges.size()), last);
  }
}

// Random access into tables of many megabytes: each pass fetches for all what the next one reads.
std::int32_t BpeModel::read_merge_batch(const TokenizerFile& file, std::size_t begin,
                                        std::size_t end, std::int32_t last) {
  const bool unique = vocabulary().size() == file.vocab.size();
  struct Pending {
    std::string merged;
    Vocabulary::Key left, right, whole;
    std::int32_t left_id, right_id, whole_id;
  };
  std::array<Pending, kMergeBatch> batch;
  for (std::size_t i = begin; i < end; ++i) {
    const std::string_view left = file.view(file.merges[i].left);
    const std::string_view right = file.view(file.merges[i].right);
    Pending& pending = batch[i - begin];
    if (right.size() < prefix_.size()) {
      throw FormatError(str_cat("model.merges: \"", shown(right),
                                "\" is shorter than continuing_subword_prefix"));
    }
    pending.merged.assign(left).append(right.substr(prefix_.size()));
    pending.left = Vocabulary::key(left);
    pending.right = Vocabulary::key(right);
    pending.whole = Vocabulary::key(pending.merged);
    vocabulary().prefetch(pending.left);
    vocabulary().prefetch(pending.right);
    vocabulary().prefetch(pending.whole);
  }
  for (std::size_t i = begin; i < end; ++i) {
    Pending& pending = batch[i - begin];
    const auto id = [&](std::string_view token, const Vocabulary::Key& key) {
      const auto found = vocabulary().find(token, key);
      if (!found) {
        throw FormatError(str_cat("model.merges: entry ", i, ": \"", shown(token),
                                  "\" is not in the vocabulary"));
      }
      return *found;
    };
    pending.left_id = id(file.view(file.merges[i].left), pending.left);
    pending.right_id = id(file.view(file.merges[i].right), pending.right);
    // Vocabularies mostly list what is merged in the order of the merges.
    const std::int32_t next = last < kMaxId ? last + 1 : last;
    if (unique && vocabulary().token(next) == pending.merged) {
      pending.whole_id = next;
    } else {
      pending.whole_id = id(pending.merged, pending.whole);
    }
    last = pending.whole_id;
    __builtin_prefetch(&merges_[merge_slot(pending.left_id, pending.right_id)]);
  }
  for (std::size_t i = begin; i < end; ++i) {
    const Pending& pending = batch[i - begin];
    insert_merge(pending.left_id, pending.right_id, static_cast<std::uint32_t>(i),
                 pending.whole_id);
  }
  return last;
}

std::size_t BpeModel::merge_slot(std::int32_t left, std::int32_t right) const {
  return hash_pair(static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(right)) &
         (merges_.size() - 1);
}

void BpeModel::insert_merge(std::int32_t left, std::int32_t right, std::uint32_t rank,
                            std::int32_t id) {
  const std::uint64_t pair = pair_of(left, right);
  std::size_t slot = merge_slot(left, right);
  while (merges_[slot].rank != kNoRank && merges_[slot].pair != pair) {
    slot = (slot + 1) & (merges_.size() - 1);
  }
  merges_[slot] = {pair, rank, id};
}

const BpeModel::Merge* BpeModel::find_merge(std::int32_t left, std::int32_t right) const {
  const std::uint64_t pair = pair_of(left, right);
  for (std::size_t slot = merge_slot(left, right);; slot = (slot + 1) & (merges_.size() - 1)) {
    const Merge& merge = merges_[slot];
    if (merge.rank == kNoRank) return nullptr;
    if (merge.pair == pair) return &merge;
  }
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
  for (const Merge& merge : merges_) {
    if (merge.rank == kNoRank) continue;
    for (const auto id : {static_cast<std::int32_t>(merge.pair >> 32),
                          static_cast<std::int32_t>(merge.pair & 0xFFFFFFFF)}) {
      if (std::binary_search(odd.begin(), odd.end(), id)) return;
    }
  }
  for (const auto& entry : file.vocab) {
    const std::string_view token = file.view(entry.token);
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
    scratch.symbols.push_back({byte_ids_[static_cast<unsigned char>(c)], kNoRank, -1, 0, 0});
  }
  return true;
}

// One symbol a character. Unknown characters wait in `unknown` until a known one follows, so byte
// tokens in between come before them: the library does it so, and models were trained on it.
void BpeModel::split(std::string_view piece, ModelScratch& scratch) const {
  scratch.symbols.clear();
  int unknown = 0;
  const auto flush = [&] {
    for (; unknown > 0; --unknown) scratch.symbols.push_back({*unk_id_, kNoRank, -1, 0, 0});
  };
  for (std::size_t begin = 0, end = 0; begin < piece.size(); begin = end) {
    end = begin + sequence_length(piece[begin]);
    const std::string_view character = piece.substr(begin, end - begin);
    const bool first = begin == 0;
    const bool last = end == piece.size();
    if (const auto id = find_symbol(character, first, last, scratch.text)) {
      flush();
      scratch.symbols.push_back({*id, kNoRank, -1, 0, 0});
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
  const Merge* merge = find_merge(left.id, right.id);
  left.rank = merge ? merge->rank : kNoRank;
  left.merged = merge ? merge->id : -1;
}

void BpeModel::merge_short(std::vector<ModelScratch::Symbol>& symbols) const {
  if (symbols.empty()) return;
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i) link(symbols[i], symbols[i + 1]);
  symbols.back().rank = kNoRank;
  for (;;) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < symbols.size(); ++i) {
      if (symbols[i].rank < symbols[best].rank) best = i;
    }
    if (symbols[best].rank == kNoRank) return;
    symbols[best].id = symbols[best].merged;
    symbols[best].rank = kNoRank;
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
    if (symbols[i].rank != kNoRank) {
      heap.push_back(static_cast<std::uint64_t>(symbols[i].rank) << 32 | i);
    }
  }
  const auto later = [](std::uint64_t a, std::uint64_t b) { return a > b; };
  std::make_heap(heap.begin(), heap.end(), later);
  const auto relink = [&](std::uint32_t at) {
    ModelScratch::Symbol& symbol = symbols[at];
    symbol.rank = kNoRank;
    if (symbol.next == kEnd) return;
    link(symbol, symbols[symbol.next]);
    if (symbol.rank == kNoRank) return;
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
