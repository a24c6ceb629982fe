#include "model/kv_cache.h"

#include <algorithm>
#include <cassert>

#include "base/str_cat.h"
#include "kernels/kv_rows.h"

namespace shoehorn {
namespace {

// Keys and values start on cache lines.
constexpr std::size_t kAlignment = 64;

/// Of keys or values of `width`.
std::size_t half_bytes(const LayerKvShape& shape, std::int64_t width, DType dtype,
                       std::int64_t positions) {
  const std::size_t bytes =
      static_cast<std::size_t>(shape.num_key_value_heads * positions) * kv_row_bytes(dtype, width);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

std::size_t kv_bytes(const LayerKvShape& shape, DType dtype, std::int64_t positions) {
  return half_bytes(shape, shape.head_dim, dtype, positions) +
         half_bytes(shape, shape.value_width(), dtype, positions);
}

KvCache::KvCache(const std::vector<LayerKvShape>& shapes, const std::vector<Device>& devices,
                 DType dtype, std::int64_t capacity, DeviceMemory& memory, const KvSpill& spill)
    : shapes_(shapes),
      dtype_(dtype),
      capacity_(capacity),
      devices_(devices.begin(), devices.begin() + static_cast<std::ptrdiff_t>(shapes.size())),
      window_(spill.window) {
  std::vector<std::size_t> on_disk(shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::size_t bytes = kv_bytes(shapes[i], dtype, capacity);
    if (spill.is_spilled(i)) {
      assert(devices[i] == Device{});
      on_disk[i] = bytes;
      layers_.emplace_back();
      continue;
    }
    layers_.push_back(memory.allocate(
        devices[i], bytes, str_cat("the KV cache of layer ", i, " for ", capacity, " positions")));
    // Committed now: a sequence that was given room must not find later that there is none.
    // Memory of a card is there when it is allocated.
    if (devices[i].kind != DeviceKind::kCuda) {
      std::ranges::fill(layers_.back().bytes(), std::byte{0});
    }
  }
  if (spill.window != nullptr) file_.emplace(spill.folder, on_disk, *spill.window);
}

void KvCache::truncate(std::int64_t length) {
  assert(length >= 0 && length <= length_);
  length_ = length;
  if (static_cast<std::int64_t>(ids_.size()) > length) {
    ids_.resize(static_cast<std::size_t>(length));
  }
  if (length == 0) rope_state_ = {};
}

KvCacheView KvCache::layer(std::int64_t layer) {
  const auto i = static_cast<std::size_t>(layer);
  const bool is_spilled = layers_[i].size() == 0 && window_ != nullptr;
  std::byte* keys = is_spilled ? window_->data() : layers_[i].data();
  return {.dtype = dtype_,
          .keys = keys,
          .values = keys + half_bytes(shapes_[i], shapes_[i].head_dim, dtype_, capacity_),
          .kv_heads = shapes_[i].num_key_value_heads,
          .capacity = capacity_,
          .head_dim = shapes_[i].head_dim,
          .value_dim = shapes_[i].value_dim};
}

KvCacheView KvCache::load(std::int64_t layer, std::int64_t positions) {
  const KvCacheView view = this->layer(layer);
  const auto i = static_cast<std::size_t>(layer);
  if (window_ != nullptr && layers_[i].size() == 0) file_->load(i, view, positions);
  return view;
}

void KvCache::store(std::int64_t layer, std::int64_t start, std::int64_t count) {
  const auto i = static_cast<std::size_t>(layer);
  if (window_ != nullptr && layers_[i].size() == 0) {
    file_->store(i, this->layer(layer), start, count);
  }
}

}  // namespace shoehorn
