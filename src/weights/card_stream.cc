#include "weights/card_stream.h"

#include <algorithm>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"

namespace shoehorn {

CardStream::Lane::Lane(Device lane_device, int card, DeviceBuffer lane_buffer)
    : device(lane_device), queue(card), buffer(std::move(lane_buffer)) {}

CardStream::CardStream(const std::vector<Device>& devices, std::size_t slot_bytes, int slots,
                       WeightStream* disk, DeviceMemory& memory)
    : disk_(disk) {
  for (const Device device : devices) {
    const int card = memory.card_of(device);
    const std::size_t bytes = slot_bytes * static_cast<std::size_t>(slots);
    auto& lane = *lanes_.emplace_back(std::make_unique<Lane>(
        device, card, memory.allocate(device, bytes, "slots for weights that come over the link")));
    for (int i = 0; i < slots; ++i) {
      lane.slots.push_back({static_cast<std::size_t>(i) * slot_bytes,
                            std::make_unique<cuda::Event>(card),
                            std::make_unique<cuda::Event>(card)});
    }
  }
  feeder_ = std::thread([this] { feed(); });
}

CardStream::~CardStream() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  feeder_.join();
}

CardStream::Lane& CardStream::lane_of(Device device) {
  for (auto& lane : lanes_) {
    if (lane->device == device) return *lane;
  }
  throw DeviceError(str_cat(to_string(device), " has no slots for weights from elsewhere"));
}

void CardStream::begin(const std::vector<LinkGroup>& groups) {
  std::unique_lock lock(mutex_);
  if (error_ == nullptr && groups_ == groups && !current_) return;
  rest(lock);
  groups_ = groups;
  next_ = 0;
  pausing_ = false;
  changed_.notify_all();
}

void CardStream::pause() {
  std::unique_lock lock(mutex_);
  if (!groups_.empty()) rest(lock);
}

void CardStream::rest(std::unique_lock<std::mutex>& lock) {
  pausing_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !busy_; });
  // What was brought and never taken is free again; its copy is in order before the next one.
  for (const Ready& ready : ready_) ++ready.lane->released;
  if (current_) ++current_->lane->released;
  current_.reset();
  ready_.clear();
  groups_.clear();
  error_ = nullptr;
}

const std::byte* CardStream::take(std::size_t group, const cuda::Queue& compute) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return error_ != nullptr || !ready_.empty(); });
    if (ready_.empty()) {
      const std::exception_ptr error = error_;
      rest(lock);
      std::rethrow_exception(error);
    }
    const Ready ready = ready_.front();
    ready_.pop_front();
    if (ready.group == group) {
      current_ = ready;
      ready.slot->filled->hold(compute);
      return ready.lane->buffer.data() + ready.slot->offset;
    }
    // A pass that was broken off: what it left is passed over.
    ++ready.lane->released;
    changed_.notify_all();
  }
}

void CardStream::give_back(const cuda::Queue& compute) {
  {
    const std::lock_guard lock(mutex_);
    if (!current_) return;
    current_->slot->freed->record(compute);
    current_->slot->was_freed = true;
    ++current_->lane->released;
    current_.reset();
  }
  changed_.notify_all();
}

std::uint64_t CardStream::bytes_sent() const {
  const std::lock_guard lock(mutex_);
  return bytes_sent_;
}

void CardStream::feed() {
  std::unique_lock lock(mutex_);
  const auto has_room = [](const Lane& lane) {
    return lane.produced - lane.released < lane.slots.size();
  };
  for (;;) {
    changed_.wait(lock, [&] {
      if (stop_) return true;
      return !pausing_ && !groups_.empty() && error_ == nullptr &&
             has_room(lane_of(groups_[next_].device));
    });
    if (stop_) return;
    const LinkGroup group = groups_[next_];
    Lane& lane = lane_of(group.device);
    Slot& slot = lane.slots[lane.produced % lane.slots.size()];
    busy_ = true;
    lock.unlock();
    std::exception_ptr error;
    try {
      send(group, lane, slot);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    busy_ = false;
    if (error) {
      error_ = error;
    } else {
      ++lane.produced;
      ready_.push_back({&lane, &slot, group.group});
      next_ = (next_ + 1) % groups_.size();
      for (const LinkPiece& piece : group.pieces) bytes_sent_ += piece.bytes;
    }
    changed_.notify_all();
  }
}

void CardStream::send(const LinkGroup& group, Lane& lane, Slot& slot) {
  lane.queue.make_current();
  if (slot.was_freed) slot.freed->hold(lane.queue);
  std::span<const std::byte* const> disk;
  if (group.disk >= 0) disk = disk_->take(static_cast<std::size_t>(group.disk));
  for (const LinkPiece& piece : group.pieces) {
    const std::byte* const from = piece.host != nullptr ? piece.host : disk[piece.disk_weight];
    cuda::copy_async(lane.queue, lane.buffer.data() + slot.offset + piece.slot_offset, from,
                     piece.bytes);
  }
  slot.filled->record(lane.queue);
  if (group.disk >= 0) {
    slot.filled->wait();  // the host slot is read until then
    disk_->give_back();
  }
}

}  // namespace shoehorn
