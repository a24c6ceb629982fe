// Cutting pieces at matches: what becomes of a match and of the gap before it.
#pragma once

#include <cstdint>
#include <vector>

#include "text/json_value.h"
#include "text/pre_tokenizer.h"

namespace shoehorn::text {

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// From its name in the file. Throws FormatError.
SplitBehavior split_behavior(const JsonValue& config);

/// Takes the matches of one piece after the other and collects the finer pieces.
class Splitter {
 public:
  Splitter(SplitBehavior behavior, bool invert, std::vector<Pieces::Piece>& out)
      : behavior_(behavior), invert_(invert), out_(out) {}

  void begin_piece(std::uint32_t begin) {
    done_ = begin;
    start_ = out_.size();
    previous_ = false;
  }
  /// Matches come from left to right, as offsets into the text of the pieces.
  void match(std::uint32_t begin, std::uint32_t end) {
    if (begin > done_) part(done_, begin, invert_);
    part(begin, end, !invert_);
    done_ = end;
  }
  void end_piece(std::uint32_t end) {
    if (end > done_) part(done_, end, invert_);
    drop_empty();
  }

 private:
  void part(std::uint32_t begin, std::uint32_t end, bool is_match);
  void drop_empty();

  SplitBehavior behavior_;
  bool invert_;
  std::vector<Pieces::Piece>& out_;
  std::uint32_t done_ = 0;
  std::size_t start_ = 0;  // where the parts of this piece begin in out_
  bool previous_ = false;  // whether the last part was a match
};

}  // namespace shoehorn::text
