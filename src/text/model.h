// The step of a tokenizer that turns a piece of text into token ids.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer_file.h"
#include "text/vocabulary.h"

namespace shoehorn::text {

/// Memory that a model uses while it works on a piece; kept between pieces to spare allocations.
struct ModelScratch {
  struct Symbol {
    std::int32_t id;
    std::uint32_t rank;  // of merging it with the next one; kNoRank if they do not merge
    std::int32_t merged;
    std::uint32_t previous;
    std::uint32_t next;
  };
  struct Step {
    double score;
    std::uint32_t begin;  // where the best last piece starts
    std::int32_t id;      // -1: unknown
  };
  std::vector<Symbol> symbols;
  std::vector<std::uint64_t> heap;
  std::vector<Step> steps;
  std::string text;
};

/// Immutable, thread-safe (with a scratch for each thread).
class TokenModel {
 public:
  virtual ~TokenModel() = default;

  /// Appends the ids of `piece`, valid UTF-8 and not empty. Throws FormatError where the file names
  /// an unknown token that its vocabulary does not have.
  virtual void tokenize(std::string_view piece, ModelScratch& scratch,
                        std::vector<std::int32_t>& ids) const = 0;

  /// Length of a start of `piece` that can be tokenized apart from the rest without changing
  /// anything; the whole length if no such place is known.
  virtual std::size_t independent_prefix(std::string_view piece) const { return piece.size(); }

  const Vocabulary& vocabulary() const { return vocabulary_; }

 protected:
  explicit TokenModel(TokenizerFile& file) : vocabulary_(file.take_vocabulary()) {}

 private:
  Vocabulary vocabulary_;
};

/// The model of the file, whose vocabulary it takes. Throws FormatError, and UnsupportedError for a
/// type that is not known.
std::unique_ptr<const TokenModel> make_token_model(TokenizerFile& file);

}  // namespace shoehorn::text
