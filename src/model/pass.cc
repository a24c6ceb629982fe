#include "model/pass.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

// Decode passes of up to this many positions share their kernels' shapes; then up to twice as many.
constexpr std::int64_t kLeastPositions = 256;
constexpr std::size_t kAlignment = 256;

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

/// Reserves `bytes` and returns where they begin.
std::size_t reserve(std::size_t& end, std::size_t bytes) {
  return std::exchange(end, end + aligned(bytes));
}

template <typename T>
void put(std::span<std::byte> block, std::size_t offset, std::span<const T> values) {
  std::memcpy(block.data() + offset, values.data(), values.size_bytes());
}

}  // namespace

Pass::Pass(const Batch& batch, std::vector<RotaryTable> rotary, std::span<const float> alibi_slopes,
           Runtime& runtime)
    : batch_(batch),
      rotary_(std::move(rotary)),
      alibi_slopes_(alibi_slopes),
      runtime_(runtime),
      rows_(batch.rows()),
      wanted_(batch.logits_rows()) {
  std::size_t layers = 0;
  for (const BatchSequence& sequence : batch.sequences) {
    const auto count = static_cast<std::int64_t>(sequence.ids.size());
    most_rows_ = std::max(most_rows_, count);
    most_positions_ = std::max(most_positions_, sequence.start + count);
    layers = std::max(layers, sequence.kv->layers());
  }
  most_positions_ = rounded_positions(most_positions_);
  for (const Device device : runtime.route_devices()) {
    if (device.kind != DeviceKind::kCuda) continue;
    if (tables_.empty()) lay_out(layers);
    Workspace& workspace = runtime.on(device).workspace;
    const std::size_t mark = workspace.mark();
    std::byte* const base = workspace.take<std::byte>(layout_.bytes).data();
    tables_.push_back({device, mark, base});
    fill(runtime.pinned(device, layout_.bytes), layers);
    runtime.send_pinned(device, base, layout_.bytes);
  }
}

Pass::~Pass() {
  for (const Tables& tables : tables_) {
    runtime_.on(tables.device).workspace.release(tables.mark);
  }
}

void Pass::lay_out(std::size_t layers) {
  const auto rows = static_cast<std::size_t>(rows_);
  const std::size_t sequences = batch_.sequences.size();
  std::size_t end = 0;
  layout_.ids = reserve(end, rows * sizeof(std::int32_t));
  layout_.positions = reserve(end, rows * sizeof(std::int32_t));
  layout_.wanted = reserve(end, wanted_.size() * sizeof(std::int32_t));
  layout_.sequences = reserve(end, sequences * sizeof(cuda::SequenceRows));
  layout_.places = reserve(end, layers * sequences * sizeof(cuda::KvPlace));
  layout_.alibi_slopes = reserve(end, alibi_slopes_.size_bytes());
  for (const RotaryTable& table : rotary_) {
    layout_.rotary.push_back(reserve(end, 2 * table.cos.size() * sizeof(float)));
  }
  layout_.bytes = end;
}

void Pass::fill(std::span<std::byte> block, std::size_t layers) const {
  std::size_t row = 0;
  std::vector<cuda::SequenceRows> sequences;
  std::vector<cuda::KvPlace> places(layers * batch_.sequences.size());
  for (const BatchSequence& sequence : batch_.sequences) {
    put(block, layout_.ids + row * sizeof(std::int32_t), sequence.ids);
    put(block, layout_.positions + row * sizeof(std::int32_t), sequence.positions);
    for (std::size_t layer = 0; layer < sequence.kv->layers(); ++layer) {
      const KvCacheView view = sequence.kv->layer(static_cast<std::int64_t>(layer));
      places[layer * batch_.sequences.size() + sequences.size()] = {view.keys, view.values,
                                                                    view.capacity};
    }
    sequences.push_back({.first_row = static_cast<std::int32_t>(row),
                         .rows = static_cast<std::int32_t>(sequence.ids.size()),
                         .start = static_cast<std::int32_t>(sequence.start)});
    row += sequence.ids.size();
  }
  const std::vector<std::int32_t> wanted(wanted_.begin(), wanted_.end());
  put<std::int32_t>(block, layout_.wanted, wanted);
  put<cuda::SequenceRows>(block, layout_.sequences, sequences);
  put<cuda::KvPlace>(block, layout_.places, places);
  put(block, layout_.alibi_slopes, alibi_slopes_);
  for (std::size_t i = 0; i < rotary_.size(); ++i) {
    const std::size_t bytes = rotary_[i].cos.size() * sizeof(float);
    put<float>(block, layout_.rotary[i], rotary_[i].cos);
    put<float>(block, layout_.rotary[i] + bytes, rotary_[i].sin);
  }
}

const Pass::Tables& Pass::tables(Device device) const {
  const auto found = std::ranges::find(tables_, device, &Tables::device);
  if (found == tables_.end()) throw DeviceError(to_string(device) + " is not on the pass's route");
  return *found;
}

RotaryView Pass::rotary(std::size_t table, Device device) const {
  const RotaryTable& host = rotary_[table];
  if (device.kind != DeviceKind::kCuda) return {host.cos, host.sin};
  const auto* const cos =
      reinterpret_cast<const float*>(tables(device).base + layout_.rotary[table]);
  return {{cos, host.cos.size()}, {cos + host.cos.size(), host.sin.size()}};
}

const std::int32_t* Pass::ids(Device device) const {
  return reinterpret_cast<const std::int32_t*>(tables(device).base + layout_.ids);
}

const std::int32_t* Pass::positions(Device device) const {
  return reinterpret_cast<const std::int32_t*>(tables(device).base + layout_.positions);
}

const float* Pass::alibi_slopes(Device device) const {
  return reinterpret_cast<const float*>(tables(device).base + layout_.alibi_slopes);
}

const std::int32_t* Pass::wanted_rows(Device device) const {
  return reinterpret_cast<const std::int32_t*>(tables(device).base + layout_.wanted);
}

const cuda::SequenceRows* Pass::sequences(Device device) const {
  return reinterpret_cast<const cuda::SequenceRows*>(tables(device).base + layout_.sequences);
}

const cuda::KvPlace* Pass::places(std::int64_t layer, Device device) const {
  const auto* const all =
      reinterpret_cast<const cuda::KvPlace*>(tables(device).base + layout_.places);
  return all + static_cast<std::size_t>(layer) * batch_.sequences.size();
}

std::int64_t Pass::rounded_positions(std::int64_t positions) {
  return std::max(kLeastPositions,
                  static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(positions))));
}

std::size_t Pass::table_bytes(std::int64_t rows, std::int64_t layers, std::int64_t heads,
                              std::int64_t rotary_floats) {
  const auto count = static_cast<std::size_t>(rows);  // sequences have a row at least
  return aligned(count * sizeof(std::int32_t)) * 3 +
         aligned(static_cast<std::size_t>(heads) * sizeof(float)) +
         aligned(count * sizeof(cuda::SequenceRows)) +
         aligned(count * static_cast<std::size_t>(layers) * sizeof(cuda::KvPlace)) +
         2 * aligned(count * static_cast<std::size_t>(rotary_floats) * sizeof(float)) +
         8 * kAlignment;
}

}  // namespace shoehorn
