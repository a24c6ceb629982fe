#include "model/kv_cache.h"

#include <algorithm>
#include <cassert>

#include "base/str_cat.h"

namespace shoehorn {
namespace {

// Keys and values start on cache lines.
constexpr std::size_t kAlignment = 64;

/// Of keys or values of `width`.
std::size_t half_bytes(const LayerKvShape& shape, std::int64_t width, DType dtype,
                       std::int64_t positions) {
  const std::size_t bytes =
      packed_bytes(dtype, shape.num_key_value_heads * positions * width).value();
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

std::size_t kv_bytes(const LayerKvShape& shape, DType dtype, std::int64_t positions) {
  return half_bytes(shape, shape.head_dim, dtype, positions) +
         half_bytes(shape, shape.value_width(), dtype, positions);
}

KvCache::KvCache(const std::vector<LayerKvShape>& shapes, const std::vector<Device>& devices,
                 DType dtype, std::int64_t capacity, DeviceMemory& memory)
    : shapes_(shapes), dtype_(dtype), capacity_(capacity) {
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    layers_.push_back(
        memory.allocate(devices[i], kv_bytes(shapes[i], dtype, capacity),
                        str_cat("the KV cache of layer ", i, " for ", capacity, " positions")));
    // Committed now: a sequence that was given room must not find later that there is none.
    // Memory of a card is there when it is allocated.
    if (devices[i].kind != DeviceKind::kCuda) {
      std::ranges::fill(layers_.back().bytes(), std::byte{0});
    }
  }
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
  std::byte* keys = layers_[i].data();
  return {.dtype = dtype_,
          .keys = keys,
          .values = keys + half_bytes(shapes_[i], shapes_[i].head_dim, dtype_, capacity_),
          .kv_heads = shapes_[i].num_key_value_heads,
          .capacity = capacity_,
          .head_dim = shapes_[i].head_dim,
          .value_dim = shapes_[i].value_dim};
}

}  // namespace shoehorn
