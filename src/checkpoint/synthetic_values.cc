#include "checkpoint/synthetic_values.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "tensor/half.h"

namespace shoehorn {
namespace {

// Changes whenever other values come out.
constexpr int kVersion = 1;

// A tensor is cut into blocks of 32 values. A block's values are a run of magnitudes that begins at
// a random place of a fixed pool, each with a random sign of its own: the signs make any two values
// uncorrelated, the runs make it a copy, several gigabytes a second. The pool stays in the nearest
// cache.
constexpr std::uint64_t kBlock = 32;
constexpr std::uint64_t kPoolStarts = 8192;

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the result depends on every
/// bit of `x`.
constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

constexpr std::uint64_t kGamma = 0x9E3779B97F4A7C15U;

struct Block {
  std::uint64_t start;  // in the pool
  std::uint32_t signs;  // bit i: value i is negative
};

constexpr Block block_at(std::uint64_t key, std::uint64_t block) {
  const std::uint64_t bits = mix(key + (block + 1) * kGamma);
  return {bits % kPoolStarts, static_cast<std::uint32_t>(bits >> 32)};
}

/// FNV-1a of 64 bits.
std::uint64_t hash_of(const std::string& text) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3U;
  return hash;
}

/// |x| of draws that are about standard normal: sums of twelve uniform numbers (variance 1/12
/// each), which are the same on every machine, as no logarithm or cosine would be.
std::vector<float> draw_magnitudes() {
  std::vector<float> result(kPoolStarts + kBlock);
  std::uint64_t state = 0;
  for (float& value : result) {
    std::int64_t sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<std::int64_t>(mix(state += kGamma) >> 40);
    value = std::fabs(static_cast<float>(sum - (std::int64_t{6} << 24)) * 0x1p-24F);
  }
  return result;
}

std::size_t pool_index(const TensorInfo& info) {
  switch (info.dtype) {
    case DType::kF32: return 0;
    case DType::kBF16: return 1;
    case DType::kF16: return 2;
    default:
      throw UnsupportedError(str_cat(info.name, ": no values are made up for ",
                                     to_string(info.dtype), "; for F32, BF16 and F16 they are"));
  }
}

/// The value as it is stored; returns its bytes.
std::size_t store(float value, std::size_t pool, std::byte* to) {
  if (pool == 0) {
    std::memcpy(to, &value, sizeof(value));
    return sizeof(value);
  }
  const std::uint16_t bits = pool == 1 ? f32_to_bf16(value) : f32_to_f16(value);
  std::memcpy(to, &bits, sizeof(bits));
  return sizeof(bits);
}

/// Copies a block's magnitudes and sets its signs, eight bytes at a time. Multiplying the next bits
/// by `kSpread` brings bit i to the sign of value i.
template <std::size_t kValueBytes>
void write_block(const std::byte* pool, Block block, std::byte* to) {
  constexpr std::uint64_t kValues = 8 / kValueBytes;
  constexpr std::uint64_t kSpread = kValueBytes == 2
                                        ? (1ULL << 15) + (1ULL << 30) + (1ULL << 45) + (1ULL << 60)
                                        : (1ULL << 31) + (1ULL << 62);
  constexpr std::uint64_t kSigns = kValueBytes == 2 ? 0x8000800080008000U : 0x8000000080000000U;
  const std::byte* from = pool + block.start * kValueBytes;
  for (std::uint64_t i = 0; i < kBlock / kValues; ++i) {
    const std::uint64_t bits = block.signs >> (i * kValues) & ((1U << kValues) - 1);
    std::uint64_t word = 0;
    std::memcpy(&word, from + i * 8, 8);
    word ^= bits * kSpread & kSigns;
    std::memcpy(to + i * 8, &word, 8);
  }
}

/// Bytes [offset, offset + out.size()) of a tensor without its columns.
template <std::size_t kValueBytes>
void write_blocks(const std::byte* pool, std::uint64_t key, std::uint64_t offset,
                  std::span<std::byte> out) {
  constexpr std::uint64_t kBlockBytes = kBlock * kValueBytes;
  std::array<std::byte, kBlockBytes> partial;
  for (std::size_t done = 0; done < out.size();) {
    const std::uint64_t block = (offset + done) / kBlockBytes;
    const std::size_t skip = (offset + done) % kBlockBytes;
    const std::size_t count = std::min<std::size_t>(kBlockBytes - skip, out.size() - done);
    if (count == kBlockBytes) {
      write_block<kValueBytes>(pool, block_at(key, block), out.data() + done);
    } else {
      write_block<kValueBytes>(pool, block_at(key, block), partial.data());
      std::memcpy(out.data() + done, partial.data() + skip, count);
    }
    done += count;
  }
}

}  // namespace

SyntheticValues::SyntheticValues(std::uint64_t seed,
                                 std::unordered_map<std::string, SyntheticRecipe> recipes)
    : seed_(seed), magnitudes_(draw_magnitudes()) {
  for (auto& [name, values] : recipes) {
    std::vector<Pool>& pools = pools_[values.deviation];
    if (pools.empty()) {
      for (std::size_t pool = 0; pool < 3; ++pool) {
        Pool& bytes = pools.emplace_back(magnitudes_.size() * sizeof(float));
        std::byte* to = bytes.data();
        for (const float magnitude : magnitudes_) {
          to += store(magnitude * values.deviation, pool, to);
        }
      }
    }
    Recipe& recipe = recipes_[name];
    recipe.key = mix(mix(seed + kGamma) ^ hash_of(name));
    // A map's elements stay where they are.
    for (std::size_t pool = 0; pool < 3; ++pool) recipe.pools[pool] = &pools[pool];
    recipe.values = std::move(values);
  }
}

float SyntheticValues::value_at(const Recipe& recipe, const TensorInfo& info,
                                std::uint64_t position) const {
  const Block block = block_at(recipe.key, position / kBlock);
  const std::uint64_t within = position % kBlock;
  const float magnitude = magnitudes_[block.start + within] * recipe.values.deviation;
  const float value =
      recipe.values.mean + ((block.signs >> within & 1) != 0 ? -magnitude : magnitude);
  const auto width = static_cast<std::uint64_t>(info.shape[-1]);
  const auto column = static_cast<std::int64_t>(position % width);
  const bool scaled = std::ranges::binary_search(recipe.values.columns, column);
  return scaled ? value * recipe.values.column_scale : value;
}

void SyntheticValues::read_at(const TensorInfo& info, std::uint64_t offset,
                              std::span<std::byte> out) const {
  const Recipe& recipe = recipes_.at(info.name);
  const std::size_t pool = pool_index(info);
  if (recipe.values.mean == 0) {
    const std::byte* magnitudes = recipe.pools[pool]->data();
    if (pool == 0) {
      write_blocks<4>(magnitudes, recipe.key, offset, out);
    } else {
      write_blocks<2>(magnitudes, recipe.key, offset, out);
    }
    patch_columns(recipe, info, offset, out);
    return;
  }
  // Vectors: few values, one at a time.
  const std::uint64_t value_bytes = dtype_info(info.dtype).block_bytes;
  std::array<std::byte, sizeof(float)> bytes;
  for (std::size_t done = 0; done < out.size();) {
    const std::uint64_t position = (offset + done) / value_bytes;
    const std::size_t skip = (offset + done) % value_bytes;
    const std::size_t count = std::min<std::size_t>(value_bytes - skip, out.size() - done);
    store(value_at(recipe, info, position), pool, bytes.data());
    std::memcpy(out.data() + done, bytes.data() + skip, count);
    done += count;
  }
}

void SyntheticValues::patch_columns(const Recipe& recipe, const TensorInfo& info,
                                    std::uint64_t offset, std::span<std::byte> out) const {
  if (recipe.values.columns.empty() || out.empty()) return;
  const std::size_t pool = pool_index(info);
  const std::uint64_t value_bytes = dtype_info(info.dtype).block_bytes;
  const auto width = static_cast<std::uint64_t>(info.shape[-1]);
  const std::uint64_t end = offset + out.size();
  std::array<std::byte, sizeof(float)> bytes;
  for (std::uint64_t row = offset / (width * value_bytes); row * width * value_bytes < end; ++row) {
    for (const std::int64_t column : recipe.values.columns) {
      const std::uint64_t position = row * width + static_cast<std::uint64_t>(column);
      const std::uint64_t first = std::max(position * value_bytes, offset);
      const std::uint64_t last = std::min((position + 1) * value_bytes, end);
      if (first >= last) continue;
      store(value_at(recipe, info, position), pool, bytes.data());
      std::memcpy(out.data() + (first - offset), bytes.data() + (first - position * value_bytes),
                  last - first);
    }
  }
}

std::string SyntheticValues::identity(const TensorInfo& info) const {
  const SyntheticRecipe& values = recipes_.at(info.name).values;
  std::string text = str_cat("synthetic ", kVersion, " seed ", seed_, " mean ", values.mean,
                             " deviation ", std::hexfloat, values.deviation, " columns");
  for (const std::int64_t column : values.columns) text += str_cat(' ', column);
  return str_cat(text, " times ", values.column_scale);
}

}  // namespace shoehorn
