// Building the table is most of what loading a tokenizer costs: a million and a half look-ups in
// tables of many megabytes. So it goes in batches, and each pass fetches what the next one reads.
#include "text/merge_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "shoehorn/error.h"

#include "base/huge_pages.h"
#include "base/str_cat.h"

namespace shoehorn::text {

class MergeTable::Builder {
 public:
  Builder(MergeTable& table, const TokenizerFile& file, const Vocabulary& vocabulary,
          std::string_view prefix)
      : table_(table),
        file_(file),
        vocabulary_(vocabulary),
        prefix_(prefix),
        can_guess_(vocabulary.size() == file.vocab.size()) {}

  void add(std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) prepare(i, batch_[i - begin]);
    for (std::size_t i = begin; i < end; ++i) look_up(i, batch_[i - begin]);
    for (std::size_t i = begin; i < end; ++i) {
      const Pending& pending = batch_[i - begin];
      table_.insert(
          {pending.left_id, pending.right_id, static_cast<std::uint32_t>(i), pending.merged_id});
    }
  }

  static constexpr std::size_t kBatch = 32;

 private:
  struct Pending {
    std::string_view left;
    std::string_view right;
    Vocabulary::Key left_key;
    Vocabulary::Key right_key;
    std::int32_t left_id;
    std::int32_t right_id;
    std::int32_t merged_id;
  };

  void prepare(std::size_t i, Pending& pending) {
    pending.left = file_.view(file_.merges[i].left);
    pending.right = file_.view(file_.merges[i].right);
    pending.left_key = Vocabulary::key(pending.left);
    pending.right_key = Vocabulary::key(pending.right);
    vocabulary_.prefetch(pending.left_key);
    vocabulary_.prefetch(pending.right_key);
    if (pending.right.size() < prefix_.size()) {
      throw FormatError(str_cat("model.merges: entry ", i, ": \"", pending.right.substr(0, 100),
                                "\" is shorter than continuing_subword_prefix"));
    }
    pending.merged_id = find_merged(i, pending.left, pending.right.substr(prefix_.size()));
  }

  void look_up(std::size_t i, Pending& pending) const {
    pending.left_id = require(i, pending.left, pending.left_key);
    pending.right_id = require(i, pending.right, pending.right_key);
    __builtin_prefetch(&table_.slots_[table_.slot_of(pending.left_id, pending.right_id)]);
  }

  std::int32_t require(std::size_t i, std::string_view token, const Vocabulary::Key& key) const {
    const auto id = vocabulary_.find(token, key);
    if (id) return *id;
    throw FormatError(str_cat("model.merges: entry ", i, " of \"",
                              file_.view(file_.merges[i].left).substr(0, 100), "\" and \"",
                              file_.view(file_.merges[i].right).substr(0, 100), "\": \"",
                              token.substr(0, 100), "\" is not in the vocabulary"));
  }

  // Vocabularies list what is merged in the order of the merges, mostly: the same token as for the
  // merge before, or the one after it.
  std::int32_t find_merged(std::size_t i, std::string_view left, std::string_view right) {
    const auto is_token = [&](std::int32_t id) {
      const auto token = vocabulary_.token(id);
      return token && token->size() == left.size() + right.size() &&
             token->substr(0, left.size()) == left && token->substr(left.size()) == right;
    };
    if (can_guess_ && is_token(last_)) return last_;
    if (can_guess_ && last_ < std::numeric_limits<std::int32_t>::max() && is_token(last_ + 1)) {
      return ++last_;
    }
    merged_.assign(left).append(right);
    last_ = require(i, merged_, Vocabulary::key(merged_));
    return last_;
  }

  MergeTable& table_;
  const TokenizerFile& file_;
  const Vocabulary& vocabulary_;
  std::string_view prefix_;
  bool can_guess_;  // no token is listed twice, so an id found by its text is the right one
  std::int32_t last_ = 0;
  std::string merged_;
  std::array<Pending, kBatch> batch_;
};

MergeTable::MergeTable(const TokenizerFile& file, const Vocabulary& vocabulary,
                       std::string_view prefix) {
  const std::size_t slots = std::bit_ceil(2 * file.merges.size() + 2);
  reserve_large(slots_, slots);
  slots_.resize(slots, Merge{-1, -1, kNoRank, -1});
  Builder builder(*this, file, vocabulary, prefix);
  for (std::size_t begin = 0; begin < file.merges.size(); begin += Builder::kBatch) {
    builder.add(begin, std::min(begin + Builder::kBatch, file.merges.size()));
  }
}

void MergeTable::insert(const Merge& merge) {
  std::size_t at = slot_of(merge.left, merge.right);
  while (slots_[at].rank != kNoRank &&
         (slots_[at].left != merge.left || slots_[at].right != merge.right)) {
    at = (at + 1) & (slots_.size() - 1);
  }
  slots_[at] = merge;
}

}  // namespace shoehorn::text
