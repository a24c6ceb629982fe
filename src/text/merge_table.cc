// Finding the ids of half a million merges is most of what loading a tokenizer costs: a million and
// a half look-ups in tables of many megabytes. So two threads share it, and each goes in batches,
// where one pass fetches what the next one reads.
#include "text/merge_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <future>
#include <span>
#include <string>

#include "shoehorn/error.h"

#include "base/huge_pages.h"
#include "base/str_cat.h"

namespace shoehorn::text {
namespace {

// From here on a second thread is worth its start.
constexpr std::size_t kManyMerges = 32768;
constexpr std::size_t kBatch = 32;

}  // namespace

// Finds the ids of what merges name.
class MergeTable::Resolver {
 public:
  Resolver(const TokenizerFile& file, const Vocabulary& vocabulary, std::string_view prefix)
      : file_(file),
        vocabulary_(vocabulary),
        prefix_(prefix),
        can_guess_(vocabulary.size() == file.vocab.size()) {}

  /// The merges of the file from entry `first` on, as many as `out` has room for.
  void resolve(std::size_t first, std::span<Merge> out) {
    for (std::size_t begin = 0; begin < out.size(); begin += kBatch) {
      const std::size_t end = std::min(begin + kBatch, out.size());
      for (std::size_t i = begin; i < end; ++i) prepare(first + i, batch_[i - begin]);
      for (std::size_t i = begin; i < end; ++i) {
        const Pending& pending = batch_[i - begin];
        out[i] = {require(first + i, pending.left, pending.left_key),
                  require(first + i, pending.right, pending.right_key), pending.merged_id};
      }
    }
  }

 private:
  struct Pending {
    std::string_view left;
    std::string_view right;
    Vocabulary::Key left_key;
    Vocabulary::Key right_key;
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
  static_assert(TokenizerLimits::kMaxEntries < kIndexMask, "the index of a merge fits its slot");
  const std::size_t count = file.merges.size();
  reserve_large(merges_, count);
  merges_.resize(count);
  const auto resolve = [&](std::size_t begin, std::size_t end) {
    Resolver(file, vocabulary, prefix)
        .resolve(begin, std::span(merges_).subspan(begin, end - begin));
  };
  const std::size_t half = count < kManyMerges ? count : count / 2;
  std::future<void> rest =
      std::async(half == count ? std::launch::deferred : std::launch::async | std::launch::deferred,
                 resolve, half, count);
  resolve(0, half);  // its error comes first, as in the file
  rest.get();
  slots_.assign(std::bit_ceil(2 * count + 2), kFree);
  std::array<std::uint64_t, kBatch> hashes;
  for (std::size_t begin = 0; begin < count; begin += kBatch) {
    const std::size_t end = std::min(begin + kBatch, count);
    for (std::size_t i = begin; i < end; ++i) {
      hashes[i - begin] = hash_of(merges_[i].left, merges_[i].right);
      __builtin_prefetch(&slots_[hashes[i - begin] & (slots_.size() - 1)]);
    }
    for (std::size_t i = begin; i < end; ++i) insert(i, hashes[i - begin]);
  }
}

void MergeTable::insert(std::size_t i, std::uint64_t hash) {
  const std::uint32_t tag = tag_of(hash);
  for (std::size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    const std::uint32_t slot = slots_[at];
    if (slot == kFree || ((slot & ~kIndexMask) == tag &&
                          joins(merges_[slot & kIndexMask], merges_[i].left, merges_[i].right))) {
      slots_[at] = tag | static_cast<std::uint32_t>(i);
      return;
    }
  }
}

}  // namespace shoehorn::text
