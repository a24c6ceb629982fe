#include "weights/weight_store.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/memory_status.h"
#include "base/str_cat.h"
#include "kernels/decode_row.h"
#include "weights/resident_loader.h"
#include "weights/tensor_reader.h"
#include "weights/weight_loader.h"

namespace shoehorn {
namespace {

// Weights below this part of the free memory are read through the page cache: the next start finds
// them there. More would push out what others have in it, or be pushed out before it is of use.
constexpr std::size_t kSmallShare = 8;

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::size_t link_aligned(std::size_t bytes) {
  return (bytes + kLinkAlignment - 1) / kLinkAlignment * kLinkAlignment;
}

bool is_resident(const WeightSpec& weight) {
  return weight.exists() && weight.device.kind != DeviceKind::kDisk && weight.tied_to < 0;
}

// What is smaller is copied: blocks of its own would be too large a part of it.
constexpr std::size_t kWorthBlocks = std::size_t{4} << 20;

/// The run of a file that all bytes of the weight are, where it is to be read to where it stays.
std::optional<WeightLoader::Source> run_of(const Checkpoint& checkpoint, const WeightSpec& weight) {
  if (weight.device.kind != DeviceKind::kCpu || form_bytes(weight) < kWorthBlocks) return {};
  const auto found = WeightLoader::in_place(checkpoint, weight);
  if (!found || found->source.bytes != form_bytes(weight)) return {};
  if (found->source.offset % kAlignment != 0) return {};
  return found->source;
}

/// Offsets in the memory of a device.
struct Place {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The place of a weight after what ends at `end`. What is read there directly lies in blocks of
/// its own, at its file's offset in them.
Place place_after(std::size_t end, const Checkpoint& checkpoint, const WeightSpec& weight) {
  const auto run = run_of(checkpoint, weight);
  if (!run) return {end, end + aligned(form_bytes(weight))};
  const auto blocks = [](std::size_t bytes) {
    return (bytes + kIoAlignment - 1) / kIoAlignment * kIoAlignment;
  };
  const std::size_t begin = blocks(end) + run->offset % kIoAlignment;
  return {begin, blocks(begin + form_bytes(weight))};
}

}  // namespace

WeightStore::WeightStore(const Checkpoint& checkpoint, std::vector<WeightGroup> groups,
                         DeviceMemory& memory, ThreadPool& pool, Isa isa, const Options& options)
    : checkpoint_(checkpoint), groups_(std::move(groups)), isa_(isa) {
  place_residents(memory);
  load_residents(memory, pool, options);
  std::vector<const WeightGroup*> streamed;
  for (const WeightGroup& group : groups_) {
    const bool is_needed = std::ranges::any_of(group.weights, [](const WeightSpec& weight) {
      return is_streamed(weight) && form_bytes(weight) > 0;
    });
    stream_index_.push_back(is_needed ? static_cast<std::ptrdiff_t>(streamed.size()) : -1);
    if (is_needed) streamed.push_back(&group);
    streamed_bytes_ += streamed_stored_bytes(group);
  }
  if (!streamed.empty()) {
    const StreamOptions stream{
        .ring_bytes = WeightStream::ring_bytes(checkpoint_, streamed, options.staging_slots),
        .io = options.io,
        .verify = options.verify,
        .make_reader = options.make_reader};
    stream_ = std::make_unique<WeightStream>(checkpoint_, std::move(streamed), stream, memory, isa);
  }
  if (!options.link_devices.empty()) open_link(options, memory);
}

void WeightStore::open_link(const Options& options, DeviceMemory& memory) {
  std::size_t slot_bytes = 0;
  for (std::size_t group = 1; group < groups_.size(); ++group) {
    for (const Device device : options.link_devices) {
      const LinkGroup brought = link_group(group, device);
      if (brought.pieces.empty()) continue;
      const LinkPiece& last = brought.pieces.back();
      slot_bytes = std::max(slot_bytes, link_aligned(last.slot_offset + last.bytes));
    }
  }
  if (slot_bytes == 0) return;
  for (DeviceBuffer& buffer : buffers_) {
    if (buffer.device().kind != DeviceKind::kCuda) pinned_.emplace_back(buffer.bytes());
  }
  if (stream_) pinned_.emplace_back(stream_->memory());
  link_ = std::make_unique<CardStream>(options.link_devices, slot_bytes, options.link_slots,
                                       stream_.get(), memory);
}

LinkGroup WeightStore::link_group(std::size_t group, Device device) const {
  LinkGroup result{.group = group, .device = device};
  std::size_t end = 0;
  for (std::size_t w = 0; w < groups_[group].weights.size(); ++w) {
    const WeightSpec& weight = groups_[group].weights[w];
    const WeightView& view = views_[group][w];
    // What lives on another card is multiplied there.
    if (!weight.exists() || view.device.kind == DeviceKind::kCuda) continue;
    LinkPiece piece{.host = view.data, .bytes = form_bytes(weight), .slot_offset = end};
    if (view.data == nullptr) {
      piece.disk_weight = w;
      result.disk = stream_index_[group];
    }
    end = link_aligned(end + piece.bytes);
    result.pieces.push_back(piece);
  }
  return result;
}

void WeightStore::begin_pass(const std::vector<std::pair<std::size_t, Device>>& brought) {
  link_groups_.clear();
  if (!link_) return;
  for (const auto& [group, device] : brought) {
    LinkGroup next = link_group(group, device);
    if (!next.pieces.empty()) link_groups_.push_back(std::move(next));
  }
  if (link_groups_.empty()) {
    link_->pause();
  } else {
    link_->begin(link_groups_);
  }
}

void WeightStore::place_residents(DeviceMemory& memory) {
  std::map<std::string, std::pair<Device, std::size_t>> bytes_on;
  for (const WeightGroup& group : groups_) {
    for (const WeightSpec& weight : group.weights) {
      if (!is_resident(weight)) continue;
      auto& [device, bytes] = bytes_on[to_string(weight.device)];
      device = weight.device;
      bytes = place_after(bytes, checkpoint_, weight).end;
    }
  }
  struct Filled {
    std::byte* data;
    std::size_t end = 0;
  };
  std::map<std::string, Filled> next;
  for (const auto& [name, use] : bytes_on) {
    buffers_.push_back(memory.allocate(use.first, use.second, "weights"));
    next[name] = {buffers_.back().data()};
    resident_bytes_ += use.second;
  }
  std::vector<WeightView> flat;
  for (const WeightGroup& group : groups_) {
    auto& views = views_.emplace_back();
    for (const WeightSpec& weight : group.weights) {
      WeightView view(weight.form, weight.exists() ? weight.shape : Shape{0}, nullptr,
                      weight.device);
      view.compute = weight.compute;
      if (weight.tied_to >= 0) {
        view = flat[static_cast<std::size_t>(weight.tied_to)];
      } else if (is_resident(weight)) {
        Filled& filled = next[to_string(weight.device)];
        const Place place = place_after(filled.end, checkpoint_, weight);
        view.data = filled.data + place.begin;
        filled.end = place.end;
      }
      if (is_streamed(weight)) view.device = Device{};  // the ring is host memory
      views.push_back(view);
      flat.push_back(view);
    }
  }
}

void WeightStore::load_residents(const DeviceMemory& memory, ThreadPool& pool,
                                 const Options& options) {
  std::deque<WeightLoader> loaders;
  std::vector<LoadJob> jobs;
  std::size_t total = 0;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    for (std::size_t w = 0; w < groups_[g].weights.size(); ++w) {
      const WeightSpec& weight = groups_[g].weights[w];
      if (!is_resident(weight)) continue;
      // The buffers are this object's own; views are const for those who compute with them.
      auto* target = const_cast<std::byte*>(views_[g][w].data);
      WeightLoader& loader = loaders.emplace_back(
          checkpoint_, weight,
          WeightTarget(std::span(target, form_bytes(weight)), memory.card_of(weight.device)), isa_);
      if (const auto run = run_of(checkpoint_, weight)) {
        jobs.push_back({.loader = &loader, .place = target, .run = *run});
      } else {
        for (std::int64_t piece = 0; piece < loader.pieces(); ++piece) {
          jobs.push_back({.loader = &loader, .piece = piece});
        }
      }
      total += form_bytes(weight);
    }
  }
  std::atomic<std::size_t> done = 0;
  const JobOptions how{.io = options.io,
                       .leave_in_page_cache = total < memory_status().free_bytes / kSmallShare};
  load_jobs(jobs, how, pool, [&](std::size_t bytes) {
    const std::size_t now = done.fetch_add(bytes) + bytes;
    if (options.on_progress) options.on_progress(now, total);
  });
}

WeightStore::Lease WeightStore::take(std::size_t group, const cuda::Queue* queue) {
  GroupClock::Use use = clock_.begin(group);
  std::vector<WeightView> views = views_[group];
  const auto brought = std::ranges::find(link_groups_, group, &LinkGroup::group);
  if (queue != nullptr && brought != link_groups_.end()) {
    const std::byte* const slot = link_->take(group, *queue);
    auto piece = brought->pieces.begin();
    for (std::size_t w = 0; w < views.size(); ++w) {
      if (!groups_[group].weights[w].exists() || views[w].device.kind == DeviceKind::kCuda) {
        continue;
      }
      views[w].data = slot + (piece++)->slot_offset;
      views[w].device = brought->device;
    }
    use.ready();
    return {std::move(use), link_.get(), queue, std::move(views)};
  }
  const std::ptrdiff_t index = stream_index_[group];
  if (index < 0) {
    use.ready();
    return {std::move(use), nullptr, std::move(views)};
  }
  const auto streamed = stream_->take(static_cast<std::size_t>(index));
  for (std::size_t w = 0; w < views.size(); ++w) {
    if (streamed[w] != nullptr) views[w].data = streamed[w];
  }
  use.ready();
  return {std::move(use), stream_.get(), std::move(views)};
}

WeightStore::Lease::~Lease() {
  if (stream_ != nullptr) stream_->give_back();
  if (link_ != nullptr) link_->give_back(*queue_);
}

void WeightStore::fetch_rows(std::size_t group, std::size_t weight,
                             std::span<const std::int32_t> ids, std::span<float> out) {
  const WeightSpec& spec = groups_[group].weights[weight];
  const WeightView& view = views_[group][weight];
  const std::int64_t width = row_layout(*spec.source).row_elements;
  assert(view.data == nullptr || view.device.kind != DeviceKind::kCuda);  // embed() does those
  const DType dtype = spec.form.dtype;
  const std::size_t row_bytes = packed_bytes(dtype, width).value();
  std::vector<std::byte> row(view.data == nullptr ? row_bytes : 0);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::byte* stored = nullptr;
    if (view.data != nullptr) {
      stored = view.data + static_cast<std::size_t>(ids[i]) * row_bytes;
    } else {
      read_rows(checkpoint_, *spec.source, dtype, ids[i], 1, row, row_scratch_, isa_);
      stored = row.data();
    }
    decode_row(dtype, stored, width, out.data() + i * static_cast<std::size_t>(width), isa_);
  }
}

}  // namespace shoehorn
