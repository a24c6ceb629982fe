#include "model/kv_spill.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <span>

#include "kernels/kv_rows.h"

namespace shoehorn {
namespace {

std::uint64_t new_id() {
  static std::atomic<std::uint64_t> last = 0;
  return ++last;
}

std::vector<std::uint64_t> offsets_of(const std::vector<std::size_t>& layer_bytes) {
  std::vector<std::uint64_t> offsets = {0};
  for (const std::size_t bytes : layer_bytes) offsets.push_back(offsets.back() + bytes);
  return offsets;
}

/// Calls body(bytes of the view, offset of them in the layer) for the run of positions of every
/// head, keys then values, that lie in one piece.
template <typename Body>
void for_runs(const KvCacheView& view, std::int64_t first, std::int64_t count, const Body& body) {
  if (count <= 0) return;
  for (const bool is_key : {true, false}) {
    std::byte* const rows = is_key ? view.keys : view.values;
    const std::size_t row = kv_row_bytes(view.dtype, is_key ? view.head_dim : view.value_width());
    for (std::int64_t head = 0; head < view.kv_heads; ++head) {
      const std::size_t at = static_cast<std::size_t>(head * view.capacity + first) * row;
      body(std::span(rows + at, static_cast<std::size_t>(count) * row),
           static_cast<std::uint64_t>(rows - view.keys) + at);
    }
  }
}

}  // namespace

KvWindow::KvWindow(std::size_t bytes, DeviceMemory& memory)
    : buffer_(memory.allocate(Device{}, bytes, "a layer of the KV cache that lies on disk")) {
  std::ranges::fill(buffer_.bytes(), std::byte{0});  // committed now, as caches are
}

std::vector<bool> spread_spilled_layers(std::size_t layers, std::size_t spilled) {
  std::vector<bool> result(layers);
  for (std::size_t i = 0; i < layers; ++i) {
    result[i] = (i + 1) * spilled / layers > i * spilled / layers;
  }
  return result;
}

KvFile::KvFile(const std::filesystem::path& folder, const std::vector<std::size_t>& layer_bytes,
               KvWindow& window)
    : id_(new_id()),
      offsets_(offsets_of(layer_bytes)),
      file_(folder, offsets_.back()),
      window_(window) {}

void KvFile::load(std::size_t layer, const KvCacheView& view, std::int64_t positions) {
  const bool is_there = window_.file_ == id_ && window_.layer_ == layer;
  const std::int64_t have = is_there ? std::min(window_.positions_, positions) : 0;
  window_.file_ = 0;  // until all of it is read
  for_runs(view, have, positions - have, [&](std::span<std::byte> run, std::uint64_t at) {
    file_.read(offsets_[layer] + at, run);
    window_.bytes_read_ += run.size();
  });
  window_.file_ = id_;
  window_.layer_ = layer;
  window_.positions_ = positions;
  // The next of them, around the end into the next token.
  const std::size_t layers = offsets_.size() - 1;
  for (std::size_t i = 1; i < layers; ++i) {
    const std::size_t next = (layer + i) % layers;
    if (offsets_[next + 1] == offsets_[next]) continue;
    for_runs(view, 0, positions, [&](std::span<std::byte> run, std::uint64_t at) {
      file_.expect(offsets_[next] + at, run.size());
    });
    break;
  }
}

void KvFile::store(std::size_t layer, const KvCacheView& view, std::int64_t start,
                   std::int64_t count) {
  for_runs(view, start, count, [&](std::span<std::byte> run, std::uint64_t at) {
    file_.write(offsets_[layer] + at, run);
  });
  window_.positions_ = start + count;
}

}  // namespace shoehorn
