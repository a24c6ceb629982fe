#include "weights/weight_stream.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "weights/tensor_reader.h"
#include "weights/weight_loader.h"

namespace shoehorn {
namespace {

std::size_t aligned(std::size_t bytes) {
  return (bytes + WeightStream::kSlotAlignment - 1) / WeightStream::kSlotAlignment *
         WeightStream::kSlotAlignment;
}

}  // namespace

std::size_t form_bytes(const WeightSpec& weight) {
  return weight.exists() ? form_bytes(weight.form, weight.shape).value() : 0;
}

std::size_t stored_bytes(const WeightSpec& weight) {
  if (weight.cached != nullptr) return form_bytes(weight);
  if (weight.quantized != nullptr) return weight.quantized->stored_bytes();
  return weight.source != nullptr ? weight.source->bytes : 0;
}

bool is_streamed(const WeightSpec& weight) {
  return weight.exists() && weight.device.kind == DeviceKind::kDisk && !weight.rows_only &&
         weight.tied_to < 0;
}

std::size_t streamed_bytes(const WeightGroup& group) {
  std::size_t bytes = 0;
  for (const WeightSpec& weight : group.weights) {
    if (is_streamed(weight)) bytes += aligned(form_bytes(weight));
  }
  return bytes;
}

WeightStream::WeightStream(const Checkpoint& checkpoint, std::vector<const WeightGroup*> groups,
                           int slots, DeviceMemory& memory, Isa isa)
    : checkpoint_(checkpoint), groups_(std::move(groups)), isa_(isa) {
  for (const WeightGroup* group : groups_) {
    slot_bytes_ = std::max(slot_bytes_, streamed_bytes(*group));
  }
  // More slots than groups would read the same weights twice.
  const std::size_t count = std::min(static_cast<std::size_t>(slots), groups_.size());
  buffer_ = memory.allocate(Device{}, slot_bytes_ * count, "staging slots");
  for (std::size_t i = 0; i < count; ++i) ring_.push_back({0, i * slot_bytes_});
  reader_ = std::thread([this] { read_ahead(); });
}

WeightStream::~WeightStream() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  freed_.notify_all();
  reader_.join();
}

std::span<const std::byte> WeightStream::take(std::size_t group) {
  const auto start = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  for (;;) {
    filled_.wait(lock, [&] { return error_ != nullptr || taken_ < produced_; });
    if (taken_ == produced_) {
      const std::exception_ptr error = std::exchange(error_, nullptr);
      freed_.notify_all();  // the reader tries again; the next pass sees whether it can
      std::rethrow_exception(error);
    }
    const Slot& slot = ring_[taken_ % ring_.size()];
    ++taken_;
    if (slot.group == group) {
      stats_.wait_s +=
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      return buffer_.bytes().subspan(slot.offset, streamed_bytes(*groups_[group]));
    }
    ++released_;
    freed_.notify_all();
  }
}

void WeightStream::give_back() {
  {
    const std::lock_guard lock(mutex_);
    ++released_;
  }
  freed_.notify_all();
}

StreamStats WeightStream::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void WeightStream::read_ahead() {
  LoadScratch scratch;
  for (std::size_t next = 0;; next = (next + 1) % groups_.size()) {
    Slot* slot = nullptr;
    {
      std::unique_lock lock(mutex_);
      freed_.wait(lock, [&] { return stop_ || produced_ - released_ < ring_.size(); });
      if (stop_) return;
      slot = &ring_[produced_ % ring_.size()];
      slot->group = next;
    }
    for (bool done = false; !done;) {
      std::exception_ptr error;
      try {
        read_group(*groups_[next], buffer_.bytes().subspan(slot->offset, slot_bytes_), scratch);
        done = true;
      } catch (...) {
        error = std::current_exception();
      }
      std::unique_lock lock(mutex_);
      if (done) {
        ++produced_;
        filled_.notify_all();
        break;
      }
      error_ = error;
      filled_.notify_all();
      freed_.wait(lock, [&] { return stop_ || error_ == nullptr; });
      if (stop_) return;
    }
  }
}

void WeightStream::read_group(const WeightGroup& group, std::span<std::byte> out,
                              LoadScratch& scratch) {
  std::size_t at = 0;
  for (const WeightSpec& weight : group.weights) {
    if (!is_streamed(weight)) continue;
    const std::size_t bytes = form_bytes(weight);
    WeightLoader loader(checkpoint_, weight, out.subspan(at, bytes), isa_);
    for (std::int64_t piece = 0; piece < loader.pieces(); ++piece) {
      loader.load(piece, scratch);
      if (stopping()) return;
    }
    at += aligned(bytes);
    const std::lock_guard lock(mutex_);
    stats_.bytes_read += stored_bytes(weight);
  }
}

bool WeightStream::stopping() const {
  const std::lock_guard lock(mutex_);
  return stop_;
}

}  // namespace shoehorn
