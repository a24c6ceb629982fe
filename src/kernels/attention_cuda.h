// Attention and its cache on a CUDA device, for all sequences of a pass at once. What changes from
// pass to pass (how many positions a cache holds, where it lies) is read from tables on the card,
// so that a recorded graph of a decode pass stays valid.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/exec_context.h"

namespace shoehorn::cuda {

/// The rows of one sequence in a pass.
struct SequenceRows {
  std::int32_t first_row = 0;
  std::int32_t rows = 0;   // new tokens
  std::int32_t start = 0;  // positions in the cache before them
  std::int32_t reserved = 0;
};

/// One layer's cache of one sequence: keys [kv_heads, capacity, head_dim] and values [kv_heads,
/// capacity, value_dim], rows as in kv_rows.h, both aligned to 16 bytes.
struct KvPlace {
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  std::int64_t capacity = 0;
};

/// Pointers are addresses of the card, those of `params` too. Tables of sequences and places are
/// written by copies, never by a kernel: they are read before the kernel ahead has ended.
struct AttentionJob {
  const float* q = nullptr;                 // [rows, heads, head_dim]
  const float* k = nullptr;                 // [rows, kv_heads, head_dim]: the new ones
  const float* v = nullptr;                 // [rows, kv_heads, value_dim]
  float* out = nullptr;                     // [rows, heads, value_dim]; may be q if as wide
  const SequenceRows* sequences = nullptr;  // [sequence_count]
  const KvPlace* places = nullptr;          // [sequence_count]
  std::int64_t sequence_count = 0;
  std::int64_t rows = 0;            // of all sequences
  std::int64_t most_rows = 0;       // no sequence has more
  std::int64_t most_positions = 0;  // no cache holds more after this pass
  DType dtype = DType::kF32;        // of the cache: F32, F16, BF16 or I8
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;  // of a value: head_dim in most models
  AttentionParams params = {};
};

/// Stores k and v of every row in its sequence's cache.
void store_kv(const AttentionJob& job, ExecContext& ctx);

/// apply_rotary_halves() of q, in place, and of k, and store_kv() of the turned k and of v: the
/// same values in one launch. `k` itself is left as it was.
///   q [rows, heads, head_dim] is job.q
///   cos, sin [rows, rotary_dim / 2]
void rotate_halves_and_store(const AttentionJob& job, float* q, const float* cos, const float* sin,
                             std::int64_t rotary_dim, ExecContext& ctx);

/// Lets every row attend, after store_kv(): shoehorn::attention() of each sequence. One new token a
/// sequence: keys are split over blocks (Flash-Decoding) and parts are put together at the end.
/// More: online softmax over tiles (FlashAttention-2, arXiv:2307.08691), on tensor cores where the
/// cache is in 16 bits, whose dtype q and the weights of values are rounded to then; all else is
/// float32. Throws DeviceError where a head is too wide for the card.
void attention(const AttentionJob& job, ExecContext& ctx);

/// Workspace of the card that attention() takes at most.
std::size_t attention_workspace_bytes(std::int64_t rows, std::int64_t sequences,
                                      std::int64_t positions, std::int64_t heads,
                                      std::int64_t value_dim);

}  // namespace shoehorn::cuda
