#include "weights/weight_stream.h"

#include <algorithm>
#include <set>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {
namespace {

// Pieces that are converted wait in scratch of their own: enough to keep the drive busy meanwhile.
constexpr std::size_t kBounces = 4;

// Of each, for pieces that are no larger: together they lie in huge pages, to which a drive reads
// several times as fast as to small ones (the fewer places a read is spread over, the better).
constexpr std::size_t kSmallBounce = std::size_t{1} << 20;

// Smaller reads cost the processor more than they gain.
constexpr std::size_t kLeastStep = std::size_t{256} << 10;

std::vector<std::size_t> numbers(std::size_t count) {
  std::vector<std::size_t> result(count);
  for (std::size_t i = 0; i < count; ++i) result[i] = count - 1 - i;
  return result;
}

void add_files(const Checkpoint& checkpoint, const QuantizedTensor& tensor,
               std::set<const File*>& files) {
  for (const QuantizedPart& part : tensor.parts) {
    files.insert(&checkpoint.files()[part.info->file]);
    if (part.scales != nullptr) files.insert(&checkpoint.files()[part.scales->file]);
  }
}

/// The files that a group's streamed weights come from, each once.
std::vector<const File*> files_of(const Checkpoint& checkpoint, const WeightGroup& group) {
  std::set<const File*> files;
  for (const WeightSpec& weight : group.weights) {
    if (!is_streamed(weight)) continue;
    if (weight.cached != nullptr) {
      files.insert(&weight.cached->file);
    } else if (checkpoint.files().empty()) {
      continue;
    } else if (weight.quantized != nullptr) {
      add_files(checkpoint, *weight.quantized, files);
    } else if (weight.stack != nullptr) {
      for (const TensorInfo& info : weight.stack->plain) {
        files.insert(&checkpoint.files()[info.file]);
      }
      for (const auto& tensor : weight.stack->quantized) add_files(checkpoint, *tensor, files);
    } else {
      files.insert(&checkpoint.files()[weight.source->file]);
    }
  }
  return {files.begin(), files.end()};
}

std::size_t clamped_ring(std::size_t bytes, std::size_t largest, std::size_t all) {
  return std::clamp(bytes, largest, std::max(largest, all));
}

/// Bytes of a read: as many as the drive likes best, but of a small ring so few that a half of it,
/// while the other is computed with, keeps all reads in flight.
std::size_t read_step(const IoMode& io, std::size_t ring_bytes) {
  const std::size_t share =
      ring_bytes / 2 / static_cast<std::size_t>(std::max(io.reads_in_flight, 1));
  const std::size_t aligned = (share + kIoAlignment - 1) / kIoAlignment * kIoAlignment;
  return std::min(io.read_bytes, std::max(aligned, kLeastStep));
}

}  // namespace

std::size_t WeightStream::ring_bytes(const Checkpoint& checkpoint,
                                     std::span<const WeightGroup* const> groups, int slots) {
  std::size_t largest = 0;
  std::size_t all = 0;
  for (const WeightGroup* group : groups) {
    const std::size_t bytes = stream_layout(checkpoint, *group).bytes();
    largest = std::max(largest, bytes);
    all += bytes;
  }
  return clamped_ring(largest * static_cast<std::size_t>(slots), largest, all);
}

WeightStream::WeightStream(const Checkpoint& checkpoint, std::vector<const WeightGroup*> groups,
                           const StreamOptions& options, DeviceMemory& memory, Isa isa)
    : checkpoint_(checkpoint),
      isa_(isa),
      options_(options),
      reads_(options.io, options.make_reader),
      flying_(static_cast<std::size_t>(std::max(options.io.reads_in_flight, 1))),
      free_tags_(numbers(flying_.size())),
      bounces_(kBounces),
      free_bounces_(numbers(kBounces)) {
  std::size_t largest = 0;
  std::size_t all = 0;
  for (const WeightGroup* group : groups) {
    groups_.push_back({group, stream_layout(checkpoint, *group), files_of(checkpoint, *group), {}});
    for (const File* file : groups_.back().files) stamps_.try_emplace(file, *file);
    largest = std::max(largest, groups_.back().layout.bytes());
    all += groups_.back().layout.bytes();
    group_reads_.push_back({.name = group->name, .bytes = streamed_stored_bytes(*group)});
  }
  buffer_ = memory.allocate(Device{}, clamped_ring(options.ring_bytes, largest, all),
                            "the ring that disk weights are read to");
  // Whole blocks alone: a smaller rest at the end is not used.
  ring_ = ByteRing(buffer_.size() / kIoAlignment * kIoAlignment);
  step_bytes_ = read_step(options.io, buffer_.size());
  reader_ = std::thread([this] { run(); });
}

WeightStream::~WeightStream() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  freed_.notify_all();
  reader_.join();
}

std::span<const std::byte* const> WeightStream::take(std::size_t group) {
  const auto start = Clock::now();
  std::unique_lock lock(mutex_);
  for (;;) {
    filled_.wait(lock, [&] {
      if (fatal_ != nullptr) return true;
      if (taken_ == entries_.size()) return false;
      const Entry& next = *entries_[taken_];
      return next.ready || (next.error != nullptr && !retry_);
    });
    if (fatal_ != nullptr) std::rethrow_exception(fatal_);
    Entry& entry = *entries_[taken_];
    if (const std::exception_ptr error = entry.error; error != nullptr) {
      retry_ = true;  // the next take sees whether it can be read now
      freed_.notify_all();
      std::rethrow_exception(error);
    }
    ++taken_;
    if (entry.group == group) {
      stats_.wait_s += std::chrono::duration<double>(Clock::now() - start).count();
      return entry.at;
    }
    entry.released = true;
    pop_released();
  }
}

void WeightStream::give_back() {
  const std::lock_guard lock(mutex_);
  const auto oldest = std::ranges::find(entries_, false, [](const auto& e) { return e->released; });
  (*oldest)->released = true;
  pop_released();
}

void WeightStream::pop_released() {
  while (!entries_.empty() && entries_.front()->released) {
    entries_.pop_front();
    --taken_;
    ring_.free_until(entries_.empty() ? ring_.head() : entries_.front()->begin);
  }
  ++releases_;
  freed_.notify_all();
}

StreamStats WeightStream::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

std::vector<GroupReads> WeightStream::group_reads() const {
  const std::lock_guard lock(mutex_);
  return group_reads_;
}

void WeightStream::run() {
  try {
    read_ahead();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    fatal_ = std::current_exception();
    filled_.notify_all();
  }
}

void WeightStream::read_ahead() {
  for (;;) {
    fill_queue();
    if (reads_.in_flight() > 0) {
      on_done(reads_.wait());
      continue;
    }
    if (stop_) return;
    if (failed_ == kNone && !to_start_.empty()) continue;  // a piece freed its scratch
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [this] {
      return stop_ || (failed_ == kNone ? releases_ != seen_releases_ : retry_);
    });
    if (stop_) return;
    if (failed_ != kNone) restart();
  }
}

void WeightStream::fill_queue() {
  while (!stop_ && failed_ == kNone && !reads_.full()) {
    if (to_start_.empty()) {
      if (!place_next()) return;
      continue;
    }
    Run run = to_start_.front();
    if (!start(run)) return;
    if (failed_ == kNone) to_start_.pop_front();
  }
}

// Gives the next chunk its place and cuts it into runs; false where there is no room.
bool WeightStream::place_next() {
  std::size_t chunk = 0;
  {
    const std::lock_guard lock(mutex_);
    seen_releases_ = releases_;
    if (stop_) return false;
    if (filling_ == nullptr) {
      // More would hold the same weights twice.
      if (entries_.size() == groups_.size()) return false;
      auto entry = std::make_unique<Entry>();
      entry->group = next_group_;
      entry->number = next_number_++;
      const Group& group = groups_[next_group_];
      entry->begin = ring_.begin_group(group.layout.ring);
      if (entries_.empty()) ring_.free_until(entry->begin);
      entry->at.resize(group.weights->weights.size());
      entry->started = Clock::now();
      entry->left = 1;  // until all of its chunks have their place
      filling_ = entry.get();
      entries_.push_back(std::move(entry));
    }
    chunk = filling_->placed.size();
    const auto at = ring_.place(groups_[filling_->group].layout.ring[chunk]);
    if (!at) return false;
    filling_->placed.push_back({.at = buffer_.data() + *at});
  }
  Entry& entry = *filling_;
  const bool is_last = chunk + 1 == groups_[entry.group].layout.chunks.size();
  if (is_last) {
    filling_ = nullptr;
    next_group_ = (next_group_ + 1) % groups_.size();
  }
  cut_runs(entry, chunk);
  if (is_last) run_done(entry);  // its place counted as one
  return true;
}

void WeightStream::cut_runs(Entry& entry, std::size_t chunk) {
  const StreamChunk& layout = groups_[entry.group].layout.chunks[chunk];
  Placed& placed = entry.placed[chunk];
  const std::uint64_t end = layout.offset + layout.in_place_bytes;
  const std::size_t step = step_bytes_;
  for (std::uint64_t at = layout.offset; at < end;) {
    // At the same offsets of the file every time; none of less than half a step but the last.
    std::uint64_t stop = (at / step + 1) * step;
    if (stop - at < step / 2) stop += step;
    if (stop > end || end - stop < step / 2) stop = end;
    to_start_.push_back({.entry = &entry,
                         .chunk = chunk,
                         .number = entry.runs++,
                         .read = {.file = layout.file,
                                  .offset = at,
                                  .bytes = static_cast<std::size_t>(stop - at),
                                  .out = placed.at + (at - layout.offset)}});
    ++placed.in_place_left;
    ++entry.left;
    at = stop;
  }
  for (std::size_t w = 0; w < layout.weights.size(); ++w) {
    entry.at[layout.weights[w].index] = placed.at + layout.weights[w].at;
    placed.loaders.emplace_back();
    if (!layout.weights[w].whole) cut_pieces(entry, chunk, w);
  }
}

void WeightStream::cut_pieces(Entry& entry, std::size_t chunk, std::size_t w) {
  const Group& group = groups_[entry.group];
  const StreamChunk::Weight& place = group.layout.chunks[chunk].weights[w];
  const WeightSpec& weight = group.weights->weights[place.index];
  Placed& placed = entry.placed[chunk];
  placed.loaders[w] = std::make_unique<WeightLoader>(
      checkpoint_, weight, std::span(placed.at + place.at, form_bytes(weight)), isa_);
  const WeightLoader& loader = *placed.loaders[w];
  // What was read in place is the first of its pieces.
  const std::size_t first =
      place.bytes == 0 ? 0 : WeightLoader::in_place(checkpoint_, weight)->pieces;
  for (auto piece = static_cast<std::int64_t>(first); piece < loader.pieces(); ++piece) {
    const auto source = loader.source_of(piece);
    Run run{.entry = &entry,
            .chunk = chunk,
            .number = entry.runs++,
            .weight = w,
            .piece = piece,
            .loads_itself = !source};
    if (source) {
      run.read.file = source->file;
      run.read.offset = source->offset;
      run.read.bytes = source->bytes;
    }
    to_start_.push_back(run);
    ++entry.left;
  }
}

// False where a piece has to wait for scratch.
bool WeightStream::start(Run& run) {
  if (run.loads_itself) {
    if (run.entry->placed[run.chunk].in_place_left > 0) {
      held_.push_back(run);
    } else {
      load_piece(run);
    }
    return true;
  }
  if (run.piece >= 0) {
    if (free_bounces_.empty()) return false;
    run.bounce = free_bounces_.back();
    free_bounces_.pop_back();
    // A block more at both ends, since reads are widened.
    const std::span<std::byte> bounce = scratch_for(run.bounce, run.read.bytes + 2 * kIoAlignment);
    run.read.out = bounce.data() + run.read.offset % kIoAlignment;
  }
  run.read.tag = free_tags_.back();
  free_tags_.pop_back();
  flying_[run.read.tag] = run;
  reads_.start(run.read);
  return true;
}

std::span<std::byte> WeightStream::scratch_for(std::size_t bounce, std::size_t bytes) {
  if (bytes <= kSmallBounce) {
    if (small_bounces_.size() == 0) small_bounces_ = HostBuffer(kBounces * kSmallBounce);
    return small_bounces_.bytes().subspan(bounce * kSmallBounce, kSmallBounce);
  }
  HostBuffer& large = bounces_[bounce];
  if (large.size() < bytes) large = HostBuffer(bytes);
  return large.bytes();
}

void WeightStream::on_done(const FileReads::Done& done) {
  free_tags_.push_back(done.read.tag);
  Run run = flying_[done.read.tag];
  if (is_given_up(*run.entry)) return;
  const auto error_at = [&](std::uint64_t offset, const std::string& what) {
    const Group& group = groups_[run.entry->group];
    const StreamChunk& chunk = group.layout.chunks[run.chunk];
    const std::size_t weight = run.piece >= 0 ? run.weight : weight_at(run, offset);
    return FileError(run.read.file->path(),
                     str_cat("reading ", group.weights->weights[chunk.weights[weight].index].path,
                             " at byte ", offset, ": ", what));
  };
  if (!done.error.empty()) {
    return fail(*run.entry, std::make_exception_ptr(error_at(done.error_offset, done.error)));
  }
  if (options_.verify &&
      !groups_[run.entry->group].checksums.check(run.number, {run.read.out, run.read.bytes})) {
    return fail(*run.entry,
                std::make_exception_ptr(error_at(
                    run.read.offset,
                    str_cat("these ", run.read.bytes,
                            " bytes are not those that were read before: the file was changed, or "
                            "the drive or the memory is at fault"))));
  }
  on_bytes(run);
}

void WeightStream::on_bytes(Run& run) {
  Entry& entry = *run.entry;
  Placed& placed = entry.placed[run.chunk];
  if (run.piece >= 0) {
    // The run before it was widened: its last block would write over what is converted now.
    if (placed.in_place_left > 0) {
      held_.push_back(run);
    } else {
      load_piece(run);
    }
    return;
  }
  if (--placed.in_place_left == 0) {
    const auto& weights = groups_[entry.group].layout.chunks[run.chunk].weights;
    for (std::size_t w = 0; w < weights.size(); ++w) {
      if (placed.loaders[w] && weights[w].bytes > 0) placed.loaders[w]->loaded_in_place(scratch_);
    }
    std::vector<Run> ready;
    std::erase_if(held_, [&](const Run& held) {
      const bool is_ready = held.entry == &entry && held.chunk == run.chunk;
      if (is_ready) ready.push_back(held);
      return is_ready;
    });
    for (Run& held : ready) {
      if (is_given_up(entry)) return;
      load_piece(held);
    }
  }
  if (!is_given_up(entry)) run_done(entry);
}

void WeightStream::load_piece(Run& run) {
  WeightLoader& loader = *run.entry->placed[run.chunk].loaders[run.weight];
  try {
    if (run.loads_itself) {
      loader.load(run.piece, scratch_);
    } else {
      loader.load_from(run.piece, {run.read.out, run.read.bytes}, scratch_);
      free_bounces_.push_back(run.bounce);
    }
  } catch (...) {
    return fail(*run.entry, std::current_exception());
  }
  run_done(*run.entry);
}

void WeightStream::run_done(Entry& entry) {
  if (--entry.left > 0) return;
  const Group& group = groups_[entry.group];
  // After the reads: a file that was written to meanwhile is noticed too.
  for (const File* file : group.files) {
    const std::string change = stamps_.at(file).change(*file);
    if (change.empty()) continue;
    return fail(entry, std::make_exception_ptr(FileError(
                           file->path(),
                           str_cat("was changed while ", group.weights->name,
                                   " was read from it: ", change, "; load the model again"))));
  }
  try {
    for (std::size_t w = 0; w < entry.at.size(); ++w) {
      const WeightSpec& weight = group.weights->weights[w];
      if (entry.at[w] == nullptr || weight.cached == nullptr) continue;
      weight.cached->check({entry.at[w], form_bytes(weight)});
    }
  } catch (...) {
    return fail(entry, std::current_exception());
  }
  const std::lock_guard lock(mutex_);
  entry.ready = true;
  GroupReads& reads = group_reads_[entry.group];
  ++reads.times;
  reads.read_s += std::chrono::duration<double>(Clock::now() - entry.started).count();
  stats_.bytes_read += reads.bytes;
  filled_.notify_all();
}

// What was placed before the entry goes on; it and all after it are read again, once the pass that
// waits for them has been told.
void WeightStream::fail(Entry& entry, std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  entry.error = std::move(error);
  failed_ = std::min(failed_, entry.number);
  to_start_.clear();  // all of them are of this entry or later ones
  filled_.notify_all();
}

// Called with mutex_ held and nothing in flight.
void WeightStream::restart() {
  const auto first = std::ranges::find_if(entries_, [&](const auto& e) { return is_given_up(*e); });
  ring_.rewind((*first)->begin);
  next_group_ = (*first)->group;
  entries_.erase(first, entries_.end());
  filling_ = nullptr;
  held_.clear();
  free_bounces_ = numbers(kBounces);
  failed_ = kNone;
  retry_ = false;
}

std::size_t WeightStream::weight_at(const Run& run, std::uint64_t offset) const {
  const StreamChunk& chunk = groups_[run.entry->group].layout.chunks[run.chunk];
  std::size_t found = 0;
  for (std::size_t w = 0; w < chunk.weights.size(); ++w) {
    if (chunk.offset + chunk.weights[w].at <= offset) found = w;
  }
  return found;
}

}  // namespace shoehorn
