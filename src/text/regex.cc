// The matcher: one loop over instructions, with an explicit stack of the choices still open.
#include "text/regex.h"

#include <algorithm>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "text/grapheme.h"
#include "text/utf8.h"

namespace shoehorn::text {

namespace {

constexpr std::size_t kStepsPerByte = 1000;
constexpr std::size_t kMinSteps = 100'000;
// Well-behaved patterns take fewer steps than this, and are faster without keeping a memo.
constexpr std::size_t kMemoStepsPerByte = 64;
constexpr std::size_t kMemoMinSteps = 4096;

}  // namespace

RegexSearch::RegexSearch(const Regex& regex)
    : regex_(regex),
      program_(regex.program()),
      budget_(kMinSteps),
      loops_(program_.loop_registers(), kAnywhere),
      captures_(program_.capture_registers(), kAnywhere) {}

void RegexSearch::start(std::string_view text) {
  text_ = text;
  position_ = 0;
  last_end_ = kAnywhere;
  budget_ += kStepsPerByte * text.size();
  const std::size_t patience = kMemoMinSteps + kMemoStepsPerByte * text.size();
  memo_from_ = budget_ > patience ? budget_ - patience : 0;
  if (memo_on_) memo_.clear();
  memo_on_ = false;
}

bool RegexSearch::next(RegexMatch& match) {
  while (position_ <= text_.size()) {
    if (!find_from(position_, match)) break;
    if (match.begin == match.end && match.end == last_end_) {
      // An empty match right after a match does not count: go on one character later.
      position_ += position_ < text_.size() ? sequence_length(text_[position_]) : 1;
      continue;
    }
    position_ = match.end;
    last_end_ = match.end;
    return true;
  }
  position_ = text_.size() + 1;
  return false;
}

bool RegexSearch::find_from(std::size_t start, RegexMatch& match) {
  const std::uint32_t first = program_.first_set();
  for (;;) {
    if (first == kNoSet || can_start(first, start)) {
      std::fill(captures_.begin(), captures_.end(), kAnywhere);
      match.begin = start;
      if (run(Run{}, 0, start, match.end)) return true;
    }
    if (start >= text_.size()) return false;
    start = skip_hopeless(start);
  }
}

// The next place worth a try after a failure at `start`. A pattern that begins with a repetition
// has tried all there is for any start within the same stretch: "\s+$" on spaces in front of a
// word.
std::size_t RegexSearch::skip_hopeless(std::size_t start) const {
  const RegexInstruction& first = program_.at(0);
  const bool repeats =
      (first.op == RegexInstruction::kRepeat || first.op == RegexInstruction::kRepeatAtomic) &&
      first.min <= 1 && first.max == RegexProgram::kUnlimited && captures_.empty();
  std::size_t next = start + sequence_length(text_[start]);
  if (!repeats || !can_start(first.set, start)) return next;
  while (can_start(first.set, next)) next += sequence_length(text_[next]);
  return next;
}

void RegexSearch::fail_budget() const {
  throw UnsupportedError(str_cat("regular expression \"", regex_.pattern().substr(0, 200),
                                 "\" needs more than ", kStepsPerByte, " steps a byte"));
}

bool RegexSearch::run(Run run, std::uint32_t pc, std::size_t position, std::size_t& end) {
  using Op = RegexInstruction;
  run.base = frames_.size();
  run.opened = memo_.opened();
  for (;;) {
    const RegexInstruction& at = program_.at(pc);
    bool ok = true;
    spend(1);
    switch (at.op) {
      case Op::kByte:
        ok = position < text_.size() && static_cast<unsigned char>(text_[position]) == at.x;
        ++position;
        ++pc;
        break;
      case Op::kSet:
        if (position < text_.size()) {
          std::size_t length;
          ok = program_.in_set(at.set, program_.symbol(text_.data() + position, length));
          position += length;
          ++pc;
        } else {
          ok = false;
        }
        break;
      case Op::kRepeat:
      case Op::kRepeatAtomic:
        ok = repeat(at, pc + 1, position);
        ++pc;
        break;
      case Op::kSplit:
        if (uses_memo(run) && run.only_whether && memo_.succeeded().contains(pc, position)) {
          succeed(run);
          return true;
        }
        ok = split(run, at, pc, position);
        break;
      case Op::kJump: pc = at.x; break;
      case Op::kSave:
        set_register(captures_, Frame::kRestoreCapture, at.x, position);
        ++pc;
        break;
      case Op::kAssert:
        ok = assertion(static_cast<RegexNode::Position>(at.x), position);
        ++pc;
        break;
      case Op::kLook:
        ok = look(at, pc + 1, position) != at.negative;
        pc = at.x;
        break;
      case Op::kAtomic: {
        const std::size_t begin = position;
        ok = this->run(Run{}, pc + 1, begin, position);
        pc = at.x;
        break;
      }
      case Op::kBackreference:
        ok = backreference(at.x, position);
        ++pc;
        break;
      case Op::kGraphemeCluster:
        ok = position < text_.size();
        if (ok) position = grapheme_cluster_end(text_, position);
        ++pc;
        break;
      case Op::kLoopBegin:
        set_register(loops_, Frame::kRestoreLoop, at.x, position);
        ++pc;
        break;
      case Op::kLoopEnd: pc = loops_[at.x] == position ? at.y : pc + 1; break;
      case Op::kMatch:
        if (run.required_end == kAnywhere || position == run.required_end) {
          end = position;
          succeed(run);
          return true;
        }
        ok = false;
        break;
    }
    if (!ok && !backtrack(run, pc, position)) return false;
  }
}

bool RegexSearch::split(const Run& run, const RegexInstruction& at, std::uint32_t& pc,
                        std::size_t position) {
  if (uses_memo(run) && memo_.failed(pc, position)) return false;
  if (at.set != kNoSet && !can_start(at.set, position)) {
    pc = at.y;
    return true;
  }
  if (at.other_set == kNoSet || can_start(at.other_set, position)) {
    frames_.push_back({Frame::kResume, at.y, position, pc});
  }
  pc = at.x;
  return true;
}

void RegexSearch::succeed(const Run& run) {
  if (uses_memo(run) && run.only_whether) {
    // Every split on the way here leads to success by its first way.
    for (std::size_t i = run.base; i < frames_.size(); ++i) {
      const Frame& frame = frames_[i];
      if (frame.kind != Frame::kResume) continue;
      memo_.succeeded().insert(static_cast<std::uint32_t>(frame.floor), frame.position);
    }
  }
  memo_.drop(run.opened);
  drop_frames(run.base);
}

bool RegexSearch::backtrack(const Run& run, std::uint32_t& pc, std::size_t& position) {
  consider_memo();
  const bool memo = uses_memo(run);
  for (;;) {
    if (memo) memo_.close(frames_.size(), run.opened);
    if (frames_.size() == run.base) return false;
    std::uint32_t origin = RegexMemo::kNoOrigin;
    if (!pop_frame(pc, position, origin)) continue;
    if (!memo) return true;
    if (!memo_.failed(pc, position)) {
      memo_.open(pc, origin, position, frames_.size());
      return true;
    }
    if (origin != RegexMemo::kNoOrigin) memo_.fail(origin, position);
    spend(1);
  }
}

// Takes the last choice up again. False if the frame only restored a register.
bool RegexSearch::pop_frame(std::uint32_t& pc, std::size_t& position, std::uint32_t& origin) {
  Frame& top = frames_.back();
  switch (top.kind) {
    case Frame::kResume:
      pc = top.pc;
      position = top.position;
      origin = static_cast<std::uint32_t>(top.floor);
      frames_.pop_back();
      return true;
    case Frame::kGiveBack:
      top.position = previous_character(text_, top.position);
      pc = top.pc;
      position = top.position;
      if (top.position <= top.floor) frames_.pop_back();
      return true;
    case Frame::kRestoreLoop: loops_[top.pc] = top.position; break;
    case Frame::kRestoreCapture: captures_[top.pc] = top.position; break;
  }
  frames_.pop_back();
  return false;
}

bool RegexSearch::repeat(const RegexInstruction& at, std::uint32_t next_pc, std::size_t& position) {
  const std::size_t begin = position;
  std::size_t floor = position;
  std::uint32_t count = 0;
  while (count < at.max && position < text_.size()) {
    std::size_t length;
    if (!program_.in_set(at.set, program_.symbol(text_.data() + position, length))) break;
    position += length;
    if (++count == at.min) floor = position;
  }
  spend((position - begin) / 4);
  if (count < at.min) return false;
  if (at.op == RegexInstruction::kRepeat && position > floor) {
    frames_.push_back({Frame::kGiveBack, next_pc, position, floor});
  }
  return true;
}

bool RegexSearch::look(const RegexInstruction& at, std::uint32_t pc, std::size_t position) {
  std::size_t end;
  consider_memo();
  if (!at.behind) return run({.only_whether = true}, pc, position, end);
  // Every start from which the shortest to the longest match could end here.
  std::size_t start = position;
  for (std::uint32_t back = 0;; ++back) {
    if (back >= at.min && run({.required_end = position}, pc, start, end)) return true;
    if (back >= at.max || start == 0) return false;
    start = previous_character(text_, start);
  }
}

bool RegexSearch::is_word_at(std::size_t position) const {
  return can_start(program_.word_set(), position);
}

bool RegexSearch::assertion(RegexNode::Position kind, std::size_t position) const {
  using Position = RegexNode::Position;
  const bool at_end = position == text_.size();
  switch (kind) {
    case Position::kTextBegin: return position == 0;
    case Position::kTextEnd: return at_end;
    case Position::kTextEndOrNewline:
      return at_end || (position + 1 == text_.size() && text_[position] == '\n');
    // A line does not begin after the newline that ends the text.
    case Position::kLineBegin: return position == 0 || (text_[position - 1] == '\n' && !at_end);
    case Position::kLineEnd: return at_end || text_[position] == '\n';
    case Position::kWordBoundary:
    case Position::kNotWordBoundary: {
      const bool before = position > 0 && is_word_at(previous_character(text_, position));
      return (before != is_word_at(position)) == (kind == Position::kWordBoundary);
    }
  }
  return false;
}

bool RegexSearch::backreference(std::uint32_t group, std::size_t& position) const {
  const std::size_t begin = captures_[2 * group];
  const std::size_t end = captures_[2 * group + 1];
  if (begin == kAnywhere || end == kAnywhere || end < begin) return false;
  const std::string_view captured = text_.substr(begin, end - begin);
  if (text_.substr(position, captured.size()) != captured) return false;
  position += captured.size();
  return true;
}

void RegexSearch::set_register(std::vector<std::size_t>& registers, Frame::Kind kind,
                               std::uint32_t index, std::size_t value) {
  frames_.push_back({kind, index, registers[index], 0});
  registers[index] = value;
}

void RegexSearch::drop_frames(std::size_t base) {
  if (captures_.empty()) {
    frames_.resize(base);
    return;
  }
  // What a later failure would have to restore stays.
  const auto begin = frames_.begin() + static_cast<std::ptrdiff_t>(base);
  frames_.erase(std::remove_if(begin, frames_.end(),
                               [](const Frame& f) { return f.kind != Frame::kRestoreCapture; }),
                frames_.end());
}

}  // namespace shoehorn::text
